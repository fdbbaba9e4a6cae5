package audit

import "fmt"

// Level says how bad it is that a rule fires.
type Level int

// The levels. An error means that one tenant can reach the rows of another, or
// that nothing would stop it; a warning is a side door, an oracle or something
// that fails when it should not; info costs time or foresight only.
const (
	LevelInfo Level = iota + 1
	LevelWarning
	LevelError
)

// levelNames are the words of the levels, in configuration and reports.
var levelNames = map[Level]string{LevelInfo: "info", LevelWarning: "warning", LevelError: "error"}

// Levels lists all levels, the worst first.
var Levels = []Level{LevelError, LevelWarning, LevelInfo}

// String returns the word for the level.
func (l Level) String() string { return levelNames[l] }

// MarshalText implements encoding.TextMarshaler with the word for the level.
func (l Level) MarshalText() ([]byte, error) { return []byte(l.String()), nil }

// ParseLevel returns the level that a word names.
func ParseLevel(word string) (Level, error) {
	for level, name := range levelNames {
		if name == word {
			return level, nil
		}
	}
	return 0, fmt.Errorf("there is no level %q; the levels are error, warning and info", word)
}

// Rule is one thing that can be wrong with a schema. The id never changes its
// meaning and is never given to another rule.
type Rule struct {
	ID    string
	Level Level
	Title string // what is wrong, as a fragment
	Why   string // why it matters, in two sentences
	Role  bool   // concerns the role or the seal alone: run by serve and check too

	needs []part // what of the catalogue it reads; nil: relations only
	check func(c *Catalog) []Finding
}

// Finding is one place where a rule fires.
type Finding struct {
	Rule     *Rule
	Kind     string // of the object: table, view, function, role, database, …
	Object   string // quoted and schema-qualified, as SQL would name it
	Part     string // the policy, constraint or grant of the object; may be empty
	Evidence string // what was read in the catalogue, as a fragment
	Fix      Fix
}

// Name names the finding for people and for ignore lines: the object, and
// behind a slash the part of it.
func (f *Finding) Name() string {
	if f.Part == "" {
		return f.Object
	}
	return f.Object + "/" + f.Part
}

// Fix is what mends a finding. SQL is one or more whole statements that may be
// run again without harm; it is empty when no statement can decide for the
// operator, and Manual then says what to do.
type Fix struct {
	SQL    string
	Breaks string // what may stop working
	Back   string // how to give it back to those who need it
	Manual string

	stage  stage
	target string // what it defines anew; of several for one target the highest rank is enough
	rank   int
}

// stage orders the statements of the script: who comes before what.
type stage int

// The stages of the script, in the order in which they are run.
const (
	stageRole stage = iota
	stageSetting
	stageFunction
	stageKey
	stagePolicy
	stageTable
	stageSeal
	stageView
	stageGrant
	stageReach
	stageNext
	stageIndex
)

// stageTitles head the sections of the script.
var stageTitles = map[stage]string{
	stageRole: "the role", stageSetting: "stored settings", stageFunction: "functions", stageKey: "keys", stagePolicy: "policies",
	stageTable: "tables", stageSeal: "the seal", stageView: "views", stageGrant: "grants", stageReach: "reach of the role beyond its tables",
	stageNext: "tables to come", stageIndex: "indexes",
}
