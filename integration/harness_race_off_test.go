//go:build !race

package integration

// raceEnabled says that this run builds the proxy with the race detector too.
const raceEnabled = false
