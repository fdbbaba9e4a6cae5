// Package audit examines whether the schema of a database keeps tenants apart.
//
// Read takes one snapshot of the catalogue in a fixed number of queries, however
// many tables there are. Every rule is a pure function over that snapshot; the
// registry Rules lists them with their stable ids. Run applies the rules,
// subtracts what the operator has ignored with a reason, and gives a Report that
// is written as text, JSON, SARIF or as an SQL script that mends what was found.
// Nothing in this package changes a database, with one exception that undoes
// itself: Prove acts as two tenants inside transactions that are rolled back.
package audit
