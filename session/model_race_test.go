//go:build race

package session

// raceDetector is on: everything takes longer.
const raceDetector = true
