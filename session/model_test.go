package session

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/cryptotest"
	"time"

	"github.com/tenantgate/tenantgate/auth"
	"github.com/tenantgate/tenantgate/wire"
)

var (
	modelSeed  = flag.Uint64("seed", 0, "run the model with this seed only; 0: with as many as there is time for")
	modelFirst = flag.Uint64("model.first", 1, "the seed to begin with")
	modelSteps = flag.Int("model.steps", 1_500_000, "steps after which a run of the model must have ended")
	modelTrace = flag.Int("model.trace", 40, "how many steps to show of a run of the model that failed")
	modelTime  = flag.Duration("model.time", 0, "how long to run the model; 0: 10s, 20s with the race detector")
)

// modelSpec is the context of the model.
var modelSpec = &ContextSpec{TenantSetting: "app.current_tenant_id", Settings: []Setting{
	{Name: "app.is_admin", Claim: "role", Equals: "admin", HasEquals: true},
	{Name: "app.user_id", Claim: "sub", Default: ""},
}}

// identities mints one identity for each name.
func identities(t testing.TB, names ...string) (ids []auth.Identity) {
	t.Helper()
	cfg := auth.KeyConfig{Algorithm: "HS256", Secret: "0123456789abcdef0123456789abcdef"}
	key, err := auth.LoadSigningKey(cfg)
	if err != nil {
		t.Fatal(err)
	}
	v, err := auth.New(auth.Config{Keys: []auth.KeyConfig{cfg}, TenantFormat: "text"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for i, name := range names {
		sub := "user of " + name
		if slices.Contains(names[:i], name) {
			sub = fmt.Sprintf("user %d of %s", i, name)
		}
		token, err := auth.Mint(key, map[string]any{
			"tenant_id": name, "sub": sub, "role": "admin", "exp": now.Add(time.Hour).Unix(), "iat": now.Unix(),
		})
		if err != nil {
			t.Fatal(err)
		}
		id, err := v.Verify(now, token)
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, id)
	}
	return ids
}

// newWorld makes a world whose shape the seed decides.
func newWorld(seed uint64, ids []auth.Identity) *world {
	r := rand.New(rand.NewPCG(seed, 1))
	w := &world{
		rand: r, now: time.Unix(1_000_000, 0), spec: modelSpec, owners: make([]*simClient, 1), fates: map[[2]int]fate{}, runs: map[int]int{},
		guarded: r.IntN(4) > 0, chunk: []int{0, 0, 1, 7, 100}[r.IntN(5)], faults: r.IntN(2) == 0, toCome: 20 + r.IntN(60), depth: 20, crowd: []int{3, 24, 24}[r.IntN(3)],
	}
	switch {
	case w.chunk == 0 && r.IntN(3) == 0:
		w.depth = 2000
	case w.chunk == 0:
		w.depth = 300
	}
	w.cfg = PoolConfig{
		Size: 1 + r.IntN(6), Wait: []time.Duration{0, time.Minute}[r.IntN(2)], Idle: time.Minute, Lifetime: time.Hour,
	}
	w.cfg.Min = r.IntN(w.cfg.Size + 1)
	w.pool = NewPool(w.cfg)
	w.names, w.utf8 = r.IntN(2) == 0, r.IntN(2) == 0
	w.terms = &Terms{MaxPrepared: []int{0, 1, 2, 200}[r.IntN(4)], Transaction: r.IntN(2) == 0, StatementBuffer: 200 + r.IntN(300), Refusal: func(_ *Entry, d Denial) []byte {
		switch {
		case d.Fastpath:
			return wire.AppendError(nil, "ERROR", "0A000", "refused", "")
		case d.Canceled:
			return wire.AppendError(nil, "ERROR", "57014", "refused", "")
		}
		return wire.AppendError(nil, "ERROR", "42501", "refused", "")
	}}
	w.reloads = r.IntN(3) == 0
	if w.guarded {
		w.terms.Guard = NewGuard(GuardConfig{Context: GuardEnforce, Reserved: modelSpec.Names()})
	}
	for _, id := range ids[:1+r.IntN(len(ids))] {
		i := slices.IndexFunc(w.tenants, func(t *simTenant) bool { return t.name == id.Tenant() })
		if i < 0 {
			i = len(w.tenants)
			w.tenants = append(w.tenants, &simTenant{name: id.Tenant()})
			if r.IntN(4) == 0 {
				w.tenants[i].most = 1 + r.IntN(w.cfg.Size)
			}
		}
		w.tenants[i].ids = append(w.tenants[i].ids, id)
	}
	return w
}

// play runs one seed and returns what it has seen, and why it failed.
func play(t *testing.T, seed uint64, ids []auth.Identity, steps int) (seen tally, n int, failure error) {
	cryptotest.SetGlobalRandom(t, seed)
	w := newWorld(seed, ids)
	defer func() {
		seen, n = w.Seen, w.steps
		if v := recover(); v != nil {
			failure = fmt.Errorf("seed %d, step %d: %v%s", seed, w.steps, v, w.history(fmt.Sprint(v)))
			if _, ok := v.(violation); !ok {
				t.Log(failure)
				panic(v)
			}
		}
	}()
	w.run(steps)
	return w.Seen, w.steps, nil
}

func TestModel(t *testing.T) {
	ids := identities(t, "a", "b", "a", "c", "d", "b", "e")
	if *modelSeed != 0 {
		if _, _, err := play(t, *modelSeed, ids, *modelSteps); err != nil {
			t.Fatal(err)
		}
		return
	}
	budget := *modelTime
	if budget == 0 {
		budget = 10 * time.Second
		if raceDetector {
			budget = 20 * time.Second
		}
	}
	var total tally
	steps, seeds := 0, 0
	for begin := time.Now(); time.Since(begin) < budget; seeds++ {
		seed := *modelFirst + uint64(seeds)
		var seen tally
		n := 0
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			var err error
			if seen, n, err = play(t, seed, ids, *modelSteps); err != nil {
				t.Fatal(err)
			}
		})
		if t.Failed() {
			return
		}
		steps += n
		total.add(seen)
	}
	t.Logf("%d seeds, %d steps: %+v", seeds, steps, total)
	if never := total.never(steps); len(never) > 0 {
		t.Errorf("in %d steps there was never: %s", steps, strings.Join(never, ", "))
	}
}
