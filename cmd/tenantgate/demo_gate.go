package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/tenantgate/tenantgate/proxy"
)

// The tenants of demo_data.sql.
const (
	tenantAcme   = "aaaaaaaa-0000-4000-8000-000000000001"
	tenantGlobex = "bbbbbbbb-0000-4000-8000-000000000002"
)

const (
	demoTokenTime = 24 * time.Hour   // how long the demo's tokens are valid
	gateStopTime  = 10 * time.Second // how long the proxy may take to end
	gateStartTime = 20 * time.Second // how long until it is ready
)

// gateConfig is the configuration of the demo's proxy: its port, the HTTP port,
// PostgreSQL's port and the size of the pool.
const gateConfig = `listen: {address: "127.0.0.1:%d"}
http: {address: "127.0.0.1:%d"}
auth:
  keys:
    - {algorithm: HS256, secret_file: signing.secret}
context:
  tenant_setting: app.current_tenant_id
  settings:
    app.is_admin: {claim: role, equals: admin}
databases:
  app:
    dsn: host=127.0.0.1 port=%d dbname=app user=app_user sslmode=disable
    password_file: app_user.password
    pool_size: %d
`

// gate is the demo's proxy, which runs in this process.
type gate struct {
	config     string // path of the configuration file
	configText string
	log        string // path of what the proxy logs
	loaded     *loaded
	server     *proxy.Server
	over       chan struct{} // closed when the proxy has ended
	err        error         // why, once over is closed
	logFile    *os.File
	endRefresh context.CancelFunc

	acme, globex, admin string // tokens
}

// startGate writes the configuration, runs the proxy from it as serve would, and
// waits until it is ready. In the tour one backend has to serve everybody.
func (d *demo) startGate(ctx context.Context) error {
	g, poolSize := &d.gate, 20
	if d.once {
		poolSize = 1
	}
	g.config, g.log = filepath.Join(d.dir, "tenantgate.yaml"), filepath.Join(d.dir, "tenantgate.log")
	g.configText = fmt.Sprintf(gateConfig, d.port, d.httpPort, d.cluster.port, poolSize)
	for name, text := range map[string]string{
		"tenantgate.yaml": g.configText, "app_user.password": d.cluster.appPassword,
		"signing.secret": rand.Text() + rand.Text(), // 260 random bits
	} {
		if err := os.WriteFile(filepath.Join(d.dir, name), []byte(text), 0o600); err != nil {
			return err
		}
	}
	var err error
	if g.logFile, err = os.OpenFile(g.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return err
	}
	if g.loaded, err = load(g.config, g.logFile); err != nil {
		return err
	}
	if err = g.mintAll(); err != nil {
		return err
	}
	server, err := proxy.New(g.loaded.server)
	if err != nil {
		return fmt.Errorf("starting the proxy: %w", err)
	}
	g.server, g.over = server, make(chan struct{})
	// Not ctx itself: stop ends both, whenever ctx is over.
	running, endRefresh := context.WithCancel(context.WithoutCancel(ctx))
	g.endRefresh = endRefresh
	go g.loaded.verifier.Run(running)
	go func() {
		defer close(g.over)
		g.err = server.Serve(context.WithoutCancel(ctx))
	}()
	return g.awaitReady(ctx, fmt.Sprintf("http://127.0.0.1:%d/readyz", d.httpPort))
}

// awaitReady asks the proxy until it says that it is ready.
func (g *gate) awaitReady(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, gateStartTime)
	defer cancel()
	pause := time.NewTicker(20 * time.Millisecond)
	defer pause.Stop()
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
		if err != nil {
			return err
		}
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
		}
		select {
		case <-pause.C:
		case <-g.over:
			return fmt.Errorf("the proxy ended at its start: %w", g.err)
		case <-ctx.Done():
			return fmt.Errorf("the proxy is not ready: %w\n%s", ctx.Err(), tail(g.log))
		}
	}
}

// mintAll signs the tokens of the demo with the configured secret.
func (g *gate) mintAll() error {
	for _, want := range []struct {
		into *string
		tokenRequest
	}{
		{&g.acme, tokenRequest{tenant: tenantAcme, subject: "ada"}},
		{&g.globex, tokenRequest{tenant: tenantGlobex, subject: "wilma"}},
		{&g.admin, tokenRequest{tenant: tenantAcme, subject: "root", claims: claimFlags{{"role", "admin"}}}},
	} {
		want.ttl = demoTokenTime
		token, err := want.mint(g.loaded.file, time.Now())
		if err != nil {
			return fmt.Errorf("signing a token: %w", err)
		}
		*want.into = token
	}
	return nil
}

// stop ends the proxy at once. It may be called at any time, also before start.
func (g *gate) stop() {
	if g.server != nil {
		g.server.Close()
		g.endRefresh()
		select {
		case <-g.over:
		case <-time.After(gateStopTime): // this process ends soon
		}
	}
	if g.logFile != nil {
		_ = g.logFile.Close()
	}
}
