# ActiveRecord as an application uses it; with MIGRATE=1 its migrations.
require "active_record"

TENANT, MARKER, OTHER = ENV.values_at("TENANT_ID", "TENANT_MARKER", "OTHER_ID")
SET = "SELECT set_config('app.current_tenant_id', $1, false)"
ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], database: ENV["PGDATABASE"], username: ENV["PGUSER"],
  password: ENV["PGPASSWORD"], sslmode: "disable", pool: 2)

def check(condition, what)
  abort "broken: #{what}" unless condition
end

class Organization < ActiveRecord::Base
  has_many :projects, dependent: :destroy
end

class Project < ActiveRecord::Base
  belongs_to :organization
end

class User < ActiveRecord::Base
end

def own
  emails = User.order(:email).pluck(:email)
  check emails.size >= 10 && emails.all? { |e| e.include? MARKER }, "users #{emails}"
  puts "#{emails.size} users"
end

def work
  own
  User.find_each(batch_size: 3) { |u| check u.email.include?(MARKER), u.email }
  Organization.transaction do
    org = Organization.create!(tenant_id: TENANT, name: "new of #{MARKER}")
    3.times { |n| org.projects.create!(tenant_id: TENANT, name: "p#{n}") }
    Organization.transaction(requires_new: true) do
      org.update!(name: "it's $1 of #{MARKER}")
      raise ActiveRecord::Rollback
    end
    puts Organization.includes(:projects).where("name LIKE ?", "new of%").first.projects.size
    org.reload.destroy!
  end
  begin
    User.create!(tenant_id: OTHER, email: "forged@example")
    check false, "a forged row"
  rescue ActiveRecord::StatementInvalid => e
    puts e.message.lines.first
  end
  connection = User.connection
  3.times do
    bind = ActiveRecord::Relation::QueryAttribute.new("t", TENANT, ActiveRecord::Type::String.new)
    check connection.exec_query(SET, "SQL", [bind], prepare: true).rows == [[TENANT]], "the own tenant"
    begin
      bind = ActiveRecord::Relation::QueryAttribute.new("t", OTHER, ActiveRecord::Type::String.new)
      connection.exec_query(SET, "SQL", [bind], prepare: true)
      check false, "the other tenant was set"
    rescue ActiveRecord::StatementInvalid => e
      check e.cause.result.error_field(PG::Result::PG_DIAG_SQLSTATE) == "42501", e.message
      puts "refused"
    end
  end
  puts connection.tables.sort.join(" "), connection.indexes("projects").size, connection.foreign_keys("projects").size
  connection.reset!
  own
end

class Tags < ActiveRecord::Migration[6.1]
  def change
    create_table :rails_tags do |t|
      t.string :name, null: false, index: { unique: true }
      t.jsonb :extra, default: {}
      t.timestamps
    end
    add_column :rails_tags, :weight, :integer, default: 1
    add_check_constraint :rails_tags, "weight > 0", name: "rails_tags_weight"
    create_join_table :rails_tags, :users
  end
end

def migrate
  ActiveRecord::Migration.verbose = false
  ActiveRecord::Base.connection.migration_context # its own tables and its advisory lock:
  migrations = [ActiveRecord::MigrationProxy.new("Tags", 1, __FILE__, "")]
  def (migrations[0]).load_migration = Tags.new("Tags", 1)
  schema = ActiveRecord::Base.connection.schema_migration
  schema.create_table
  ActiveRecord::Migrator.new(:up, migrations, schema).migrate
  ActiveRecord::Migrator.new(:down, migrations, schema, 0).migrate
  schema.drop_table
  ActiveRecord::InternalMetadata.drop_table
  puts "migrated"
end

ENV["MIGRATE"] == "1" ? migrate : work
