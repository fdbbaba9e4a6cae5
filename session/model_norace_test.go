//go:build !race

package session

// raceDetector is off.
const raceDetector = false
