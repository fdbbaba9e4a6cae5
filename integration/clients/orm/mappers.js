// Object mappers and query builders as applications use them: the argument names one.
'use strict'
require('reflect-metadata')
const { TENANT_ID: tenant, TENANT_MARKER: marker, OTHER_ID: other, PGHOST: host, PGPORT, PGUSER: user, PGPASSWORD: password, PGDATABASE: database } = process.env
const port = Number(PGPORT)
const migrating = process.env.MIGRATE === '1'
const sealed = process.env.SEALED === '1' // functions of its own and DO are let through
const SET = (p) => `SELECT set_config('app.current_tenant_id', ${p}, false) AS t`

function check(condition, what) {
  if (!condition) throw new Error('broken: ' + what)
}

function own(emails) {
  check(emails.length >= 10 && emails.every((e) => e.includes(marker)), 'users ' + emails)
  console.log(emails.length, 'users')
}

// binds sets the own tenant and tries the other one: set(id) resolves to the value.
async function binds(set) {
  for (let i = 0; i < 3; i++) {
    check((await set(tenant)) === tenant, 'the own tenant')
    const error = await set(other).then(() => null, (e) => e)
    check(error && JSON.stringify([error.code, error.original?.code, error.driverError?.code, error.cause?.code]).includes('42501'), 'refused by ' + error)
    console.log('refused')
  }
}

async function pg() {
  const { Pool } = require('pg')
  const pool = new Pool({ host, port, user, password, database, max: 1 })
  own((await pool.query('SELECT email FROM users')).rows.map((r) => r.email))
  await binds(async (id) => (await pool.query(SET('$1'), [id])).rows[0].t)
  await binds(async (id) => (await pool.query({ name: 'set', text: SET('$1'), values: [id] })).rows[0].t)
  await pool.end()
}

async function postgresjs() {
  const sql = require('postgres')({ host, port, user, password, database, max: 1 })
  own((await sql`SELECT email FROM users WHERE email LIKE ${'%'}`).map((r) => r.email))
  await binds(async (id) => (await sql`SELECT set_config('app.current_tenant_id', ${id}, false) AS t`)[0].t)
  await sql.begin(async (sql) => {
    await sql`INSERT INTO organizations ${sql([{ tenant_id: tenant, name: 'one' }, { tenant_id: tenant, name: 'two' }])}`
    await sql.savepoint((sql) => sql`SELECT 1 / 0`).catch((e) => console.log(e.code))
    console.log((await sql`DELETE FROM organizations WHERE name = ANY(${['one', 'two']}) RETURNING name`).length)
  })
  await sql.unsafe('SELECT 1; SELECT 2')
  for await (const rows of sql`SELECT email FROM users`.cursor(3)) own(rows.concat(Array(10).fill({ email: marker })).map((r) => r.email))
  await sql.end()
}

async function knex() {
  const db = require('knex')({ client: 'pg', connection: { host, port, user, password, database }, pool: { min: 1, max: 1 } })
  if (migrating) {
    const steps = { up: (k) => k.schema.createTable('knex_tags', (t) => { t.increments(); t.string('name').unique(); t.enu('kind', ['a', 'b']); t.timestamps() }), down: (k) => k.schema.dropTable('knex_tags') }
    const migrationSource = { getMigrations: async () => ['tags'], getMigrationName: (m) => m, getMigration: async () => steps }
    await db.migrate.latest({ migrationSource })
    check(await db.schema.hasTable('knex_tags'), 'the migrated table')
    await db.migrate.rollback({ migrationSource }, true)
    await db.schema.dropTable('knex_migrations').dropTable('knex_migrations_lock')
  } else {
    own((await db('users').select('email').whereLike('email', '%')).map((r) => r.email))
    await db.transaction(async (t) => {
      const [{ id }] = await t('organizations').insert({ tenant_id: tenant, name: 'new' }).returning('id')
      await t('projects').insert({ tenant_id: tenant, organization_id: id, name: 'new' })
      await t.transaction((s) => s.raw('SELECT 1 / 0')).catch((e) => console.log(e.code))
      console.log(await t('projects').where({ organization_id: id }).del(), await t('organizations').where({ id }).update({ name: 'x' }), await t('organizations').where({ id }).del())
    })
    await binds(async (id) => (await db.raw(SET('?'), [id])).rows[0].t)
    console.log(Object.keys(await db('users').columnInfo()).length)
  }
  await db.destroy()
}

async function sequelize() {
  const { Sequelize, DataTypes, QueryTypes } = require('sequelize')
  const db = new Sequelize(database, user, password, { host, port, dialect: 'postgres', logging: false, pool: { max: 1 } })
  if (migrating) {
    const Tag = db.define('sequelize_tag', { name: { type: DataTypes.STRING, unique: true }, kind: sealed ? DataTypes.ENUM('a', 'b') : DataTypes.TEXT, extra: DataTypes.JSONB })
    await db.sync()
    await db.sync({ alter: true })
    await Tag.create({ name: 'x', kind: 'a' })
    await db.drop({})
    await db.query('DROP TYPE IF EXISTS "enum_sequelize_tags_kind"')
  } else {
    const id = { type: DataTypes.UUID, primaryKey: true, defaultValue: DataTypes.UUIDV4 }
    const User = db.define('user', { id, email: DataTypes.TEXT }, { tableName: 'users', timestamps: false })
    const Organization = db.define('organization', { id, tenant_id: DataTypes.UUID, name: DataTypes.TEXT }, { tableName: 'organizations', timestamps: false })
    own((await User.findAll({ order: ['email'] })).map((u) => u.email))
    await db.transaction(async (transaction) => {
      // findOrCreate makes a function in pg_temp.
      const [o, made] = await Organization[sealed ? 'findOrCreate' : 'findCreateFind']({ where: { name: "it's $1 new" }, defaults: { tenant_id: tenant }, transaction })
      await Organization.bulkCreate([{ tenant_id: tenant, name: 'b' }], { transaction })
      await o.update({ name: 'x' }, { transaction })
      console.log(made, await Organization.count({ transaction }), await Organization.destroy({ where: { name: ['x', 'b'] }, transaction }))
    })
    await binds(async (id) => (await db.query(SET('$1'), { bind: [id], type: QueryTypes.SELECT }))[0].t)
    await binds(async (id) => (await db.query(SET('?'), { replacements: [id], type: QueryTypes.SELECT }))[0].t)
    console.log((await db.getQueryInterface().showAllTables()).length)
  }
  await db.close()
}

async function typeorm() {
  const { DataSource, EntitySchema } = require('typeorm')
  const User = new EntitySchema({ name: 'User', tableName: 'users', columns: { id: { type: 'uuid', primary: true }, email: { type: 'text' }, role: { type: 'text' } } })
  const Organization = new EntitySchema({ name: 'Organization', tableName: 'organizations', columns: { id: { type: 'uuid', primary: true, generated: 'uuid' }, tenant_id: { type: 'uuid' }, name: { type: 'text' } } })
  const Tag = new EntitySchema({ name: 'Tag', tableName: 'typeorm_tags', columns: { id: { type: 'int', primary: true, generated: true }, name: { type: 'varchar', unique: true }, kind: { type: 'enum', enum: ['a', 'b'] } } })
  const db = new DataSource({ type: 'postgres', host, port, username: user, password, database, installExtensions: false, extra: { max: 1 }, entities: migrating ? [Tag] : [User, Organization] })
  await db.initialize()
  if (migrating) {
    await db.synchronize()
    await db.getRepository('Tag').save({ name: 'x', kind: 'a' })
    await db.query('DROP TABLE typeorm_tags')
    await db.query('DROP TYPE typeorm_tags_kind_enum')
  } else {
    own((await db.getRepository('User').find({ order: { email: 'ASC' } })).map((u) => u.email))
    await db.transaction(async (m) => {
      const o = await m.getRepository('Organization').save({ tenant_id: tenant, name: 'new' })
      console.log((await m.getRepository('Organization').update({ id: o.id }, { name: 'x' })).affected, await m.getRepository('Organization').countBy({ name: 'x' }))
      await m.getRepository('Organization').delete({ id: o.id })
    })
    await binds(async (id) => (await db.query(SET('$1'), [id]))[0].t)
  }
  await db.destroy()
}

async function drizzle() {
  const { drizzle } = require('drizzle-orm/node-postgres')
  const { pgTable, uuid, text } = require('drizzle-orm/pg-core')
  const { eq, sql } = require('drizzle-orm')
  const { Pool } = require('pg')
  const pool = new Pool({ host, port, user, password, database, max: 1 })
  const db = drizzle({ client: pool })
  const users = pgTable('users', { id: uuid().primaryKey(), email: text() })
  const organizations = pgTable('organizations', { id: uuid().primaryKey().defaultRandom(), tenant_id: uuid(), name: text() })
  own((await db.select().from(users).orderBy(users.email)).map((u) => u.email))
  await db.transaction(async (t) => {
    const [o] = await t.insert(organizations).values({ tenant_id: tenant, name: 'new' }).returning()
    await t.transaction((s) => s.execute(sql`SELECT 1 / 0`)).catch((e) => console.log(e.cause?.code))
    await t.update(organizations).set({ name: 'x' }).where(eq(organizations.id, o.id))
    await t.delete(organizations).where(eq(organizations.id, o.id))
  })
  await binds(async (id) => (await db.execute(sql`SELECT set_config('app.current_tenant_id', ${id}, false) AS t`)).rows[0].t)
  await pool.end()
}

async function kysely() {
  const { Kysely, PostgresDialect, sql } = require('kysely')
  const { Pool } = require('pg')
  const db = new Kysely({ dialect: new PostgresDialect({ pool: new Pool({ host, port, user, password, database, max: 1 }) }) })
  own((await db.selectFrom('users').select('email').where('email', 'like', '%').execute()).map((u) => u.email))
  await db.transaction().execute(async (t) => {
    const { id } = await t.insertInto('organizations').values({ tenant_id: tenant, name: 'new' }).returning('id').executeTakeFirstOrThrow()
    await t.deleteFrom('organizations').where('id', '=', id).execute()
  })
  await binds(async (id) => (await sql`SELECT set_config('app.current_tenant_id', ${id}, false) AS t`.execute(db)).rows[0].t)
  console.log((await db.introspection.getTables()).length)
  await db.destroy()
}

async function prisma() {
  const { PrismaPg } = require('@prisma/adapter-pg')
  const db = new (require('@prisma/client').PrismaClient)({ adapter: new PrismaPg({ host, port, user, password, database, max: 1 }) })
  own((await db.user.findMany({ orderBy: { email: 'asc' } })).map((u) => u.email))
  await db.$transaction(async (t) => {
    const { id } = await t.organization.create({ data: { tenant_id: tenant, name: 'new', projects: { create: [{ tenant_id: tenant, name: 'p' }] } } })
    console.log((await t.organization.findUnique({ where: { id }, include: { projects: true } })).projects.length)
    await t.project.deleteMany({ where: { organization_id: id } })
    await t.organization.delete({ where: { id } })
  })
  const failed = (e) => Promise.reject(Object.assign(e, { code: e.meta?.driverAdapterError?.cause?.originalCode }))
  await binds(async (id) => (await db.$queryRawUnsafe(SET('$1'), id).catch(failed))[0].t)
  await binds(async (id) => (await db.$queryRaw`SELECT set_config('app.current_tenant_id', ${id}, false) AS t`.catch(failed))[0].t)
  await db.$disconnect()
}

const programs = { pg, postgresjs, knex, sequelize, typeorm, drizzle, kysely, prisma }
programs[process.argv[2]]().catch((e) => {
  console.error(e)
  process.exit(1)
})
