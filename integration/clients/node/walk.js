// node-postgres with a Pool, as an application uses it.
'use strict'
const { Pool } = require('pg')

const env = process.env
const admin = env.ROLE === 'admin'
const join = `SELECT p.name, a.action, i.memo FROM projects p JOIN audit_logs a ON a.project_id = p.id
  JOIN organizations o ON o.id = p.organization_id JOIN invoices i ON i.organization_id = o.id ORDER BY 1, 2, 3`

function check (condition, what) {
  if (!condition) throw new Error('broken: ' + what)
}

function judge (name, rows, own) {
  const lines = rows.map(r => Object.values(r).join(' '))
  console.log(name, lines.length, lines.join('\n  '))
  check(lines.length === own * (admin ? 2 : 1), `${name}: ${lines.length} rows`)
  check(admin || lines.every(l => l.includes(env.TENANT_MARKER) && !l.includes(env.OTHER_MARKER)), `${name}: a foreign row`)
}

async function forbidden (client, sql, args) {
  await client.query('BEGIN')
  try {
    await client.query(sql, args)
    check(admin, 'a write for another tenant went through: ' + sql)
  } catch (e) {
    console.log(e.code, e.message)
    check(e.code === '42501' && !admin, e.message)
  }
  await client.query('ROLLBACK')
}

async function main () {
  const pool = new Pool({ ssl: false, max: 3 })
  for (let turn = 0; turn < 3; turn++) {
    const client = await pool.connect()
    judge('users', (await client.query('SELECT email FROM users ORDER BY email')).rows, 10)
    judge('named', (await client.query({ name: 'users', text: 'SELECT email FROM users WHERE email LIKE $1 ORDER BY email', values: ['user%'] })).rows, 10)
    judge('join', (await client.query(join)).rows, 18)
    await client.query('BEGIN')
    const org = (await client.query('INSERT INTO organizations (tenant_id, name) VALUES ($1, $2) RETURNING id', [env.TENANT_ID, 'new'])).rows[0].id
    const project = (await client.query('INSERT INTO projects (tenant_id, organization_id, name) VALUES ($1, $2, $3) RETURNING id', [env.TENANT_ID, org, 'new'])).rows[0].id
    await client.query('INSERT INTO audit_logs (tenant_id, project_id, action) VALUES ($1, $2, $3)', [env.TENANT_ID, project, 'new'])
    await client.query('COMMIT')
    console.log('transaction', (await client.query('SELECT count(*) FROM audit_logs WHERE project_id = $1', [project])).rows)
    await client.query('BEGIN')
    await client.query('DELETE FROM audit_logs WHERE project_id = $1', [project])
    await client.query('DELETE FROM projects WHERE id = $1', [project])
    await client.query('DELETE FROM organizations WHERE id = $1', [org])
    await client.query('COMMIT')
    await forbidden(client, 'INSERT INTO users (tenant_id, email) VALUES ($1, $2)', [env.OTHER_ID, 'forged@example'])
    await forbidden(client, 'UPDATE users SET tenant_id = $1 WHERE email LIKE $2', [env.OTHER_ID, 'user1@%'])
    client.release()
  }
  const counts = await Promise.all(Array.from({ length: 100 }, () => pool.query('SELECT count(*)::int AS n FROM users')))
  check(counts.every(r => r.rows[0].n === (admin ? 20 : 10)), 'counts differ')
  const results = await pool.query('SELECT 1 AS a; SELECT count(*)::int AS n FROM users')
  console.log(results.map(r => r.rows))
  await pool.end()
}

main().catch(e => { console.error(e); process.exit(1) })
