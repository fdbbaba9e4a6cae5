# Several connections of ActiveRecord that work at the same time, with its own prepared statements.
require "active_record"

TENANT, MARKER, OTHER, TABLE = ENV.values_at("TENANT_ID", "TENANT_MARKER", "OTHER_ID", "TURNS_TABLE")
ActiveRecord::Base.establish_connection(
  adapter: "postgresql", host: ENV["PGHOST"], port: ENV["PGPORT"], database: ENV["PGDATABASE"], username: ENV["PGUSER"],
  password: ENV["PGPASSWORD"], sslmode: "disable", pool: 3)

class User < ActiveRecord::Base
end

class LoadRow < ActiveRecord::Base
end

class Turn < ActiveRecord::Base
  self.table_name = TABLE
end

def check(condition, what)
  abort "broken: #{what}" unless condition
end

def outcome
  yield
rescue ActiveRecord::StatementInvalid => e
  e.cause&.result&.error_field(PG::Result::PG_DIAG_SQLSTATE) || e.class.name
end

# Statements that are prepared, with others on each connection.
def prepared(n, seen)
  12.times do |turn|
    rows = LoadRow.where("id > ? AND #{n} = #{n}", turn - 12).distinct.pluck(:tenant_id, :marker)
    check rows == [[TENANT, MARKER]], "client #{n} gets #{rows}"
    check LoadRow.find_by(marker: MARKER).tenant_id == TENANT, "another tenant's row"
    emails = User.where(role: "user").order(:email).pluck(:email)
    check emails.size == 10 && emails.all? { |e| e.include? MARKER }, "users #{emails}"
    seen << outcome { User.connection.select_value("SELECT 10 / #{n % 2}") }
  end
  seen << outcome { User.create!(tenant_id: OTHER, email: "forged@example") }
end

# A commit with an error behind a savepoint, and a rollback.
def transaction(n, seen)
  nonce = "#{MARKER} #{n}"
  7.times do
    LoadRow.transaction do
      LoadRow.create!(tenant_id: TENANT, marker: MARKER, nonce: nonce)
      seen << outcome do
        LoadRow.transaction(requires_new: true) do
          LoadRow.create!(tenant_id: TENANT, marker: MARKER, nonce: nonce)
          seen << LoadRow.where(nonce: nonce).count
          LoadRow.connection.select_value("SELECT 1 / 0")
        end
      end
      seen << LoadRow.where(nonce: nonce).count
    end
    LoadRow.transaction do
      LoadRow.where(nonce: nonce).delete_all
      raise ActiveRecord::Rollback
    end
    seen << LoadRow.find_by(nonce: nonce).update!(nonce: nonce + "'s") << LoadRow.where(nonce: nonce + "'s").delete_all << LoadRow.where(nonce: nonce).exists?
  end
end

def described(_, seen)
  8.times { seen << outcome { Turn.where(b: MARKER).map { |t| t.attributes.values.join(" ") } } }
  seen << outcome { Turn.transaction { Turn.where(b: MARKER).map { |t| t.attributes.values.join(" ") } } }
end

# Each connection lives as long as its thread.
def each(threads, step)
  threads.each { |t| t[:todo] << step }
  threads.each_with_index { |t, n| puts "#{step} #{n} #{t[:done].pop}" }
end

threads = 3.times.map do |n|
  todo, done = Queue.new, Queue.new
  Thread.new do
    while (step = todo.pop)
      seen = []
      send(step, n, seen)
      done << seen
    end
    ActiveRecord::Base.connection_pool.release_connection
  end.tap { |t| t[:todo], t[:done], t.abort_on_exception = todo, done, true }
end
2.times { %i[prepared transaction].each { |step| each threads, step } }
each threads, :described
owner = PG.connect(host: ENV["PGHOST"], port: ENV["OWNER_PORT"], dbname: "app", user: "app_owner", password: ENV["OWNER_PASSWORD"])
["ADD COLUMN c int DEFAULT 3", "ALTER COLUMN a TYPE text"].each do |change|
  owner.exec("ALTER TABLE #{TABLE} #{change}")
  each threads, :described
end
threads.each { |t| t[:todo] << nil }.each(&:join)
