// Several connections of one tenant that work at the same time: the argument names the driver.
'use strict'
const { TENANT_ID: tenant, TENANT_MARKER: marker, OTHER_ID: other, PGHOST: host, PGPORT, PGUSER: user, PGPASSWORD: password, PGDATABASE: database } = process.env
const { TURNS_TABLE: table, OWNER_PORT, OWNER_PASSWORD } = process.env
const place = { host, port: Number(PGPORT), user, password, database, max: 1 }

function check(condition, what) {
  if (!condition) throw new Error('broken: ' + what)
}

// Each driver: connect, rows of a statement, a transaction in one function and what is
// undone within it, the state of an error.
const drivers = {
  // node-postgres prepares what has a name, and never again: behind a change of the columns
  // the statement fails for ever where it was prepared before, and is right elsewhere.
  pg: {
    changed: (rows) => rows === '0A000' || rows == `1 ${marker} 3`,
    async connect() {
      const c = new (require('pg').Client)(place)
      await c.connect()
      return Object.assign(c, { named: new Map() })
    },
    async rows(c, text, ...values) {
      if (!c.named.has(text)) c.named.set(text, 'statement ' + c.named.size)
      return (await c.query({ name: c.named.get(text), text, values })).rows
    },
    async transaction(c, work) {
      await c.query('BEGIN')
      await work(c).then(() => c.query('COMMIT'), async (e) => { await c.query('ROLLBACK'); throw e })
    },
    code: (e) => e.code,
    end: (c) => c.end()
  },
  // postgres.js prepares every statement.
  postgresjs: {
    connect: async () => require('postgres')({ ...place, onnotice() {} }),
    async rows(c, text, ...values) {
      const parts = text.split(/\$\d/)
      return await c(Object.assign(parts, { raw: parts }), ...values)
    },
    transaction: (c, work) => c.begin(work),
    undone: (t, work) => t.savepoint(work).catch(() => {}),
    code: (e) => e.code,
    end: (c) => c.end(),
    async others(c, n) {
      // It is not asked to cancel: it may do so twice, and hit what comes next.
      const seen = []
      await c.begin(async (t) => {
        const into = await t`COPY plain_arrivals FROM STDIN`.writable()
        for (let i = 0; i < 3000; i++) into.write(`${marker} ${n} ${i}\n`)
        await new Promise((resolve, reject) => into.on('error', reject).on('finish', resolve).end())
        seen.push((await t`SELECT count(*)::int FROM plain_arrivals WHERE t LIKE ${marker + ' ' + n + ' %'}`)[0].count)
        throw new Error('undo')
      }).catch((e) => seen.push(e.message))
      for await (const rows of c`SELECT email FROM users ORDER BY email`.cursor(3)) seen.push(...rows.map((r) => r.email))
      const lines = []
      for await (const chunk of await c`COPY (SELECT email FROM users ORDER BY email) TO STDOUT`.readable()) lines.push(chunk.toString())
      return [...seen, lines.join('')]
    }
  },
  // Prisma without its engine binary, on the adapter of node-postgres.
  prisma: {
    async connect() {
      const { PrismaPg } = require('@prisma/adapter-pg')
      return new (require('@prisma/client').PrismaClient)({ adapter: new PrismaPg(place) })
    },
    rows: (c, text, ...values) => c.$queryRawUnsafe(text, ...values),
    transaction: (c, work) => c.$transaction(work),
    code: (e) => e.meta?.driverAdapterError?.cause?.originalCode ?? e.meta?.code ?? e.code,
    end: (c) => c.$disconnect(),
    async others(c, n) {
      const seen = []
      for (let i = 0; i < 7; i++) {
        const emails = (await c.user.findMany({ where: { email: { startsWith: 'user' } }, orderBy: { email: 'asc' } })).map((u) => u.email)
        check(emails.length === 10 && emails.every((e) => e.endsWith(marker + '.example')), emails)
        const made = await c.organization.create({ data: { tenant_id: tenant, name: 'new ' + n, projects: { create: [{ tenant_id: tenant, name: 'p' }, { tenant_id: tenant, name: 'q' }] } }, include: { projects: true } })
        const [, , organizations] = await c.$transaction([
          c.project.updateMany({ where: { organization_id: made.id }, data: { name: 'r' } }),
          c.project.deleteMany({ where: { organization_id: made.id } }),
          c.organization.deleteMany({ where: { id: made.id } })
        ])
        seen.push(made.projects.length, organizations.count, await c.user.create({ data: { tenant_id: other, email: 'forged@example' } }).then(() => 'forged', (e) => e.code))
      }
      return seen
    }
  }
}

const db = drivers[process.argv[2]]
const undone = db.undone ?? (async (t, work) => {
  await db.rows(t, 'SAVEPOINT s')
  await work(t)
  await db.rows(t, 'ROLLBACK TO s')
})
const outcome = (c, text, ...values) => db.rows(c, text, ...values).then((rows) => rows.map((r) => Object.values(r).join(' ')), (e) => db.code(e))

const steps = {
  // Statements that are prepared; under one name each client has another one.
  async prepared(c, n) {
    for (let turn = 0; turn < 12; turn++) {
      const own = await outcome(c, `SELECT $1::int + ${n} AS client${n}, tenant_id::text, marker FROM load_rows LIMIT 1`, turn)
      check(own == `${turn + n} ${tenant} ${marker}`, `client ${n} gets ${own}`)
      const emails = await outcome(c, 'SELECT email FROM users WHERE email LIKE $1 ORDER BY email', 'user%')
      check(emails.length === 10 && emails.every((e) => e.includes(marker)), emails)
    }
  },
  // Errors of prepared statements, which stay usable.
  async failing(c, n) {
    const seen = []
    for (let turn = 0; turn < 12; turn++) seen.push(await outcome(c, 'SELECT 10 / $1::int', n % 2))
    return [...seen, await outcome(c, "INSERT INTO users (tenant_id, email) VALUES ($1::text::uuid, 'forged@example')", other)]
  },
  // A commit with an error behind a savepoint, and a rollback.
  async transaction(c, n) {
    const nonce = marker + ' ' + n
    const insert = 'INSERT INTO load_rows (tenant_id, marker, nonce) VALUES ($1::text::uuid, $2, $3)'
    const count = (c) => outcome(c, 'SELECT count(*) FROM load_rows WHERE nonce = $1', nonce)
    for (let turn = 0; turn < 7; turn++) {
      const seen = []
      await db.transaction(c, async (t) => {
        await db.rows(t, insert, tenant, marker, nonce)
        await undone(t, async (s) => {
          await db.rows(s, insert, tenant, marker, nonce)
          seen.push(await count(s), await outcome(s, 'SELECT 10 / $1::int', 0))
        })
        seen.push(await count(t))
      })
      seen.push(await count(c))
      await db.transaction(c, async (t) => {
        await db.rows(t, 'DELETE FROM load_rows WHERE nonce = $1', nonce)
        seen.push(await count(t))
        throw new Error('undo')
      }).catch((e) => seen.push(e.message))
      seen.push(await count(c), await outcome(c, 'DELETE FROM load_rows WHERE nonce = $1', nonce), await count(c))
      check(JSON.stringify(seen) === '[["2"],"22012",["1"],["1"],["0"],"undo",["1"],[],["0"]]', 'transactions ' + JSON.stringify(seen))
    }
  },
  others: (c, n) => db.others?.(c, n)
}

async function main() {
  const clients = []
  for (let n = 0; n < 3; n++) clients.push(await db.connect())
  const each = async (name, step) => (await Promise.all(clients.map(step))).forEach((seen, n) => console.log(name, n, JSON.stringify(seen ?? [])))
  for (let round = 0; round < 2; round++) {
    for (const [name, step] of Object.entries(steps)) await each(name, step)
  }
  let changed = false
  const described = async (c) => {
    const seen = []
    for (let i = 0; i < 8; i++) {
      const rows = await outcome(c, 'SELECT * FROM ' + table)
      seen.push(changed && db.changed?.(rows) || rows)
    }
    return seen
  }
  await each('described', described)
  const owner = new (require('pg').Client)({ host, port: Number(OWNER_PORT), user: 'app_owner', password: OWNER_PASSWORD, database: 'app' })
  await owner.connect()
  await owner.query(`ALTER TABLE ${table} ADD COLUMN c int DEFAULT 3`)
  changed = true
  await each('a column more', described)
  await owner.query(`ALTER TABLE ${table} ALTER COLUMN a TYPE text`)
  await each('another type', described)
  await owner.end()
  for (const c of clients) await db.end(c)
}

main().catch((e) => {
  console.error(e)
  process.exit(1)
})
