package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// someTenant is a tenant by the default tenant_format.
const someTenant = "aaaaaaaa-0000-4000-8000-00000000000a"

// complete adds the sections that text lacks and that have no default.
func complete(text string) string {
	text = strings.TrimPrefix(text, "\n")
	for line := range strings.Lines(minimal) {
		section, _, _ := strings.Cut(line, ":")
		if strings.TrimSpace(section) != "" && !strings.HasPrefix(text, section+":") && !strings.Contains(text, "\n"+section+":") {
			text += "\n" + line
		}
	}
	return text
}

func TestMistakesAreReportedWithKeyLineAndWayOut(t *testing.T) {
	t.Setenv("TEST_SET", "not-a-number")
	t.Setenv("TEST_SECRET", "")
	for _, tt := range []struct {
		name, text, want string // want is the whole report behind the file's name
	}{
		// What the loader finds.
		{"misspelled key", "limits:\n  max_client_con: 5", ":2: limits.max_client_con: unknown key; did you mean max_client_conn?"},
		{"misspelled section", "limit: {}", ":1: limit: unknown key; did you mean limits?"},
		{"key of another section", "listen: {max_client_conn: 5}", ":1: listen.max_client_conn: unknown key here; it belongs under limits"},
		{"key of nowhere", "http: {frobnicate: 1}", ":1: http.frobnicate: unknown key; the keys here are address"},
		{"misspelled key in a list", "auth:\n  keys:\n    - {algorithm: HS256, secrets: x}", ":3: auth.keys[0].secrets: unknown key; did you mean secret?\n:3: auth.keys[0].secret: HS256 needs one; set secret_file or secret (make one with: openssl rand -base64 32)"},
		{"misspelled key in a database", "databases:\n  app:\n    dsn: host=h\n    pool_sise: 5", ":4: databases.app.pool_sise: unknown key; did you mean pool_size?"},
		{"key given twice", "log:\n  level: info\n  level: warn", ":3: log.level: given twice, first on line 2; keep one"},
		{"section given twice", "http: {}\nhttp: {}", ":2: http: given twice, first on line 1; keep one"},
		{"database given twice", "databases:\n  app: {dsn: host=h}\n  app: {dsn: host=h}", ":3: databases.app: given twice, first on line 2; keep one"},
		{"merge key", "x: &x {level: warn}\nlog:\n  <<: *x", ":1: x: unknown key; the keys here are listen, http, auth, context, databases, limits, timeouts, log\n:3: log: merge keys (<<) are not supported; write the keys out"},
		{"key that is a list", "log:\n  ? [level]\n  : warn", ":2: log: a key must be plain text"},
		{"tag", "limits: {max_client_conn: !!str 5}", ":1: limits.max_client_conn: the tag !!str is not supported; remove it"},
		{"list for a section", "log: [info]", ":1: log: want a section of keys and values"},
		{"section for a list", "auth:\n  keys: {algorithm: HS256}", ":2: auth.keys: want a list, one entry a line beginning with a dash"},
		{"section for a value", "http: {address: {port: 1}}", ":1: http.address: want a single value"},
		{"number", "limits: {max_client_conn: many}", `:1: limits.max_client_conn: "many" is not valid; want a whole number`},
		{"octal number", "limits: {max_client_conn: 0o10}", `:1: limits.max_client_conn: "0o10" is not valid; want a whole number`},
		{"truth", "listen: {allow_plaintext_password: yes}", `:1: listen.allow_plaintext_password: "yes" is not valid; want true or false`},
		{"duration without unit", "timeouts: {query_wait_timeout: 30}", `:1: timeouts.query_wait_timeout: "30" is not valid; want a duration such as 30s, 5m or 1h`},
		{"duration in words", "timeouts: {query_wait_timeout: 30 seconds}", `:1: timeouts.query_wait_timeout: "30 seconds" is not valid; want a duration such as 30s, 5m or 1h`},
		{"size", "limits: {statement_buffer: 1MB}", `:1: limits.statement_buffer: "1MB" is not valid; want a size such as 1MiB, 64KiB or 65536 (bytes)`},
		{"unset variable", "http: {address: \"${TEST_UNSET}\"}", ":1: http.address: the environment variable TEST_UNSET is not set; set it or remove the key"},
		{"unset secret", "auth:\n  keys:\n    - {algorithm: HS256, secret: \"${TEST_UNSET}\"}", ":3: auth.keys[0].secret: the environment variable TEST_UNSET is not set; set it or remove the key"},
		{"empty secret", "auth:\n  keys:\n    - {algorithm: HS256, secret: \"${TEST_SECRET}\"}", ":3: auth.keys[0].secret: HS256 needs one; set secret_file or secret (make one with: openssl rand -base64 32)"},
		{"variable in a part", "http: {address: \"127.0.0.1:${TEST_SET}\"}", ":1: http.address: ${TEST_SET} stands only for a whole value, not for a part of one; put the whole value into the variable or a file"},
		{"value of a variable", "limits: {max_client_conn: \"${TEST_SET}\"}", ":1: limits.max_client_conn: the value of ${TEST_SET} is not valid; want a whole number"},
		{"value of a variable, found later", "log: {level: \"${TEST_SET}\"}", `:1: log.level: "${TEST_SET}" is not one of debug, info, warn, error`},

		// listen, http
		{"address", "listen: {address: localhost}", `:1: listen.address: "localhost" is not host:port, such as 127.0.0.1:6432, [::1]:6432 or :6432, nor an absolute directory for a Unix socket`},
		{"port", "listen: {address: \"127.0.0.1:65536\"}", `:1: listen.address: "127.0.0.1:65536" is not host:port, such as 127.0.0.1:6432, [::1]:6432 or :6432, nor an absolute directory for a Unix socket`},
		{"relative socket directory", "listen: {address: \"run/tg:6432\"}", `:1: listen.address: "run/tg:6432" is not host:port, such as 127.0.0.1:6432, [::1]:6432 or :6432, nor an absolute directory for a Unix socket`},
		{"socket directory that is not there", "listen: {address: /nowhere/tg}", `:1: listen.address: "/nowhere/tg" is not a directory that exists; create it, owned by the user that runs tenantgate`},
		{"clear text on every interface", "listen: {address: \":6432\"}", `:1: listen.address: tokens would cross the network in clear text on ":6432"; set listen.tls.cert_file and key_file, or listen.allow_plaintext_password: true when the network itself is encrypted`},
		{"clear text on a host name", "listen: {address: \"gate.example:6432\"}", `:1: listen.address: tokens would cross the network in clear text on "gate.example:6432"; set listen.tls.cert_file and key_file, or listen.allow_plaintext_password: true when the network itself is encrypted`},
		{"loops", "listen: {loops: -1}", ":1: listen.loops: -1 is below 0; 0 chooses from the CPUs"},
		{"TLS mode", "listen: {tls: {mode: required}}", `:1: listen.tls.mode: "required" is not one of disable, prefer, require; did you mean require?`},
		{"TLS without certificate", "listen: {tls: {mode: prefer}}", ":1: listen.tls.mode: prefer needs a certificate; set cert_file and key_file"},
		{"certificate without key", "listen:\n  tls:\n    cert_file: /cert.pem", ":3: listen.tls.cert_file: there is no key_file that it belongs to; set both"},
		{"key without certificate", "listen:\n  tls:\n    key_file: /key.pem", ":3: listen.tls.key_file: there is no cert_file that it belongs to; set both"},
		{"certificate that is not there", "listen: {tls: {cert_file: /nowhere/c, key_file: /nowhere/k}}", ":1: listen.tls.cert_file: open /nowhere/c: no such file or directory"},
		{"client CA without TLS", "listen: {tls: {client_ca_file: /nowhere/ca}}", ":1: listen.tls.client_ca_file: a client without TLS shows no certificate; set mode: require, or remove client_ca_file\n:1: listen.tls.client_ca_file: open /nowhere/ca: no such file or directory"},
		{"client CA that is none", "listen: {tls: {client_ca_file: /dev/null}}", ":1: listen.tls.client_ca_file: a client without TLS shows no certificate; set mode: require, or remove client_ca_file\n:1: listen.tls.client_ca_file: /dev/null holds no certificate in PEM form"},
		{"metrics on a Unix socket", "http: {address: /tmp}", `:1: http.address: "/tmp" is not host:port; metrics are served over TCP only`},
		{"metrics on the same port", "http: {address: \"127.0.0.1:6432\"}", `:1: http.address: "127.0.0.1:6432" is the address of listen; choose another port`},

		// auth
		{"no key", "auth: {}", ":1: auth.keys: there is no key to verify tokens with; add one, or set auth.jwks.url or auth.jwks.file"},
		{"tenant format", "auth:\n  keys: [{algorithm: HS256, secret: " + testSecret + "}]\n  tenant_format: \"[\"", ":3: auth.tenant_format: "},
		{"no tenant claim", "auth:\n  keys: [{algorithm: HS256, secret: " + testSecret + "}]\n  tenant_claim: \"\"", ":3: auth.tenant_claim: is empty; name the claim that holds the tenant, such as tenant_id"},
		{"no tenant format", "auth:\n  keys: [{algorithm: HS256, secret: " + testSecret + "}]\n  tenant_format: \"\"", ":3: auth.tenant_format: is empty; use uuid, text or a regular expression"},
		{"expiry", "auth:\n  keys: [{algorithm: HS256, secret: " + testSecret + "}]\n  on_expiry: end", `:3: auth.on_expiry: "end" is not one of terminate, ignore`},
		{"refresh", "auth:\n  keys: [{algorithm: HS256, secret: " + testSecret + "}]\n  jwks: {refresh: 0s}", ":3: auth.jwks.refresh: 0s is not above 0s; this wait cannot be without end"},
		{"leeway", "auth:\n  keys: [{algorithm: HS256, secret: " + testSecret + "}]\n  leeway: -1s", ":3: auth.leeway: is negative; use 0s or more, e.g. 30s"},

		// context
		{"role as the tenant", "context: {tenant_setting: role}", `:1: context.tenant_setting: "role" is a setting of PostgreSQL itself or no setting at all; a context setting has a dot, such as app.current_tenant_id`},
		{"setting of PostgreSQL", "context: {settings: {session_authorization: {claim: sub}}}", `:1: context.settings.session_authorization: "session_authorization" is a setting of PostgreSQL itself or no setting at all; a context setting has a dot, such as app.current_tenant_id`},
		{"setting name", "context: {tenant_setting: \"app.x'; --\"}", `:1: context.tenant_setting: "app.x'; --" is not a setting name; use letters, digits, _ and $, joined by dots, such as app.current_tenant_id`},
		{"setting name with a digit in front", "context: {tenant_setting: app.1x}", `:1: context.tenant_setting: "app.1x" is not a setting name; use letters, digits, _ and $, joined by dots, such as app.current_tenant_id`},
		{"setting of the proxy", "context: {tenant_setting: TenantGate.seal}", `:1: context.tenant_setting: "TenantGate.seal" is reserved: settings under tenantgate. are the proxy's own; choose another prefix, such as app.`},
		{"tenant given again", "context:\n  settings:\n    App.Current_Tenant_ID: {claim: sub}", ":3: context.settings.App.Current_Tenant_ID: the setting is given by context.tenant_setting already (PostgreSQL ignores case); remove one"},
		{"setting given again", "context:\n  settings:\n    A.x: {claim: sub}\n    a.X: {claim: sub}", ":4: context.settings.a.X: the setting is given by context.settings.A.x already (PostgreSQL ignores case); remove one"},
		{"setting without claim", "context: {settings: {app.x: {equals: y}}}", `:1: context.settings.app.x.claim: "" is empty; name a claim, e.g. tenant_id or app_metadata.tenant_id`},
		{"setting with equals and default", "context: {settings: {app.x: {claim: c, equals: y, default: z}}}", ":1: context.settings.app.x.default: equals makes the value 'true' or 'false', a default would never be used; remove one of them"},
		{"guard mode", "context: {guard: {context: enforced}}", `:1: context.guard.context: "enforced" is not one of enforce, log, off; did you mean enforce?`},
		{"guard mode auto", "context: {guard: {shared_role: auto}}", `:1: context.guard.shared_role: "auto" is not one of enforce, log, off`},
		{"hidden SQL", "context: {guard: {hidden_sql: on}}", `:1: context.guard.hidden_sql: "on" is not one of auto, enforce, log, off`},
		{"channels", "context: {guard: {channels: false}}", `:1: context.guard.channels: "false" is not one of enforce, log, off`},
		{"seal without id", "context: {seal: {key_file: /key}}", ":1: context.seal.key_file: there is no key_id that tells the key from the one after it; set one such as k1"},
		{"seal without key", "context: {seal: {key_id: k1}}", ":1: context.seal.key_id: there is no key_file that it belongs to; make one with: tenantgate seal keygen > FILE"},
		{"seal that is not there", "context: {seal: {key_id: k1, key_file: /nowhere/key}}", ":1: context.seal.key_file: open /nowhere/key: no such file or directory"},
		{"seal that is none", "context: {seal: {key_id: k1, key_file: /dev/null}}", ":1: context.seal: the key is not 32 to 64 bytes in hexadecimal digits; make a key with: tenantgate seal keygen"},
		{"seal id", "context: {seal: {key_id: k.1, key_file: /dev/null}}", `:1: context.seal: the key id "k.1" is not 1 to 32 letters, digits, _ and -; make a key with: tenantgate seal keygen`},

		// databases
		{"no database", "databases: {}", `:1: databases: no database is configured; add an entry named as clients ask for it, or "*", with a dsn`},
		{"no dsn", "databases:\n  app:", ":2: databases.app.dsn: no dsn is given; set one such as host=127.0.0.1 dbname=app user=app_user sslmode=verify-full"},
		{"dsn", "databases: {app: {dsn: \"host=h password='swordfish\"}}", ":1: databases.app.dsn: failed to parse as keyword/value; write key=value pairs or postgres://user@host:port/dbname?key=value"},
		{"dsn with a bad port", "databases: {app: {dsn: \"postgres://u:sword:fish@h:swordfish/d\"}}", ":1: databases.app.dsn: invalid port; write key=value pairs or postgres://user@host:port/dbname?key=value"},
		{"dsn with a CA that is not there", "databases: {app: {dsn: \"host=h sslmode=verify-full sslrootcert=/nowhere/ca\"}}", ":1: databases.app.dsn: failed to configure TLS: unable to read CA file: open /nowhere/ca: no such file or directory; write key=value pairs or postgres://user@host:port/dbname?key=value"},
		{"dsn with a misspelled key", "databases: {app: {dsn: \"host=h sslmod=verify-full\"}}", `:1: databases.app.dsn: "sslmod" is not a parameter of a connection; did you mean sslmode?`},
		{"dsn with a setting", "databases: {app: {dsn: \"host=h search_path=a\"}}", `:1: databases.app.dsn: "search_path" is not a parameter of a connection; settings come from the client, or from ALTER ROLE … SET on the server`},
		{"password file that is not there", "databases: {app: {dsn: host=h, password_file: /nowhere/pw}}", ":1: databases.app.password_file: open /nowhere/pw: no such file or directory"},
		{"password file that is empty", "databases: {app: {dsn: host=h, password_file: /dev/null}}", ":1: databases.app.password_file: /dev/null is empty; write the password into it"},
		{"password given twice", "databases: {app: {dsn: \"host=h password=swordfish\", password_file: /dev/null}}", ":1: databases.app.password_file: the dsn has a password already; remove one of them\n:1: databases.app.password_file: /dev/null is empty; write the password into it"},
		{"require", "databases: {app: {dsn: host=h, require: {a..b: x}}}", `:1: databases.app.require: "a..b" has an empty name between its dots; write it like app_metadata.tenant_id`},
		{"pool mode", "databases: {app: {dsn: host=h, pool_mode: sessions}}", `:1: databases.app.pool_mode: "sessions" is not one of session, transaction; did you mean session?`},
		{"pool size", "databases: {app: {dsn: host=h, pool_size: 0}}", ":1: databases.app.pool_size: 0 is below 1; a pool needs a backend"},
		{"least pool size", "databases: {app: {dsn: host=h, min_pool_size: 21}}", ":1: databases.app.min_pool_size: 21 is above pool_size, which is 20; lower it or raise pool_size"},
		{"negative pool size", "databases: {app: {dsn: host=h, min_pool_size: -1}}", ":1: databases.app.min_pool_size: -1 is below 0"},

		// limits, timeouts, log
		{"no client", "limits: {max_client_conn: 0}", ":1: limits.max_client_conn: 0 is below 1"},
		{"no login", "limits: {max_unauthenticated: 0}", ":1: limits.max_unauthenticated: 0 is below 1"},
		{"login failures", "limits: {max_login_failures: -1}", ":1: limits.max_login_failures: -1 is below 0"},
		{"clients of a tenant", "limits: {max_tenant_client_conn: -1}", ":1: limits.max_tenant_client_conn: -1 is below 0"},
		{"backends of a tenant", "limits: {max_tenant_server_conn: -1}", ":1: limits.max_tenant_server_conn: -1 is below 0"},
		{"limits of no tenant", "limits:\n  tenants:\n    - {statement_timeout: 5s}", ":3: limits.tenants[0]: says for no tenant that it holds; set tenant, or claim and equals"},
		{"limits of a tenant and a claim", "limits:\n  tenants:\n    - {tenant: " + someTenant + ", claim: plan, equals: x, statement_timeout: 5s}", ":3: limits.tenants[0]: has a tenant and a claim; keep one of them, and make another entry for the other"},
		{"limits of a tenant that cannot be", "limits:\n  tenants:\n    - {tenant: acme, statement_timeout: 5s}", `:3: limits.tenants[0].tenant: no token can have the tenant "acme": the tenant is not a UUID in its 8-4-4-4-12 form; write it as tokens do, by auth.tenant_format`},
		{"limits of a claim without text", "limits:\n  tenants:\n    - {claim: plan, statement_timeout: 5s}", ":3: limits.tenants[0].claim: there is no text that the claim must have; set equals"},
		{"limits of a text without claim", "limits:\n  tenants:\n    - {equals: plan, statement_timeout: 5s}", ":3: limits.tenants[0].equals: there is no claim that it belongs to; set both"},
		{"limits of a claim that is none", "limits:\n  tenants:\n    - {claim: a..b, equals: x, statement_timeout: 5s}", `:3: limits.tenants[0].claim: "a..b" has an empty name between its dots; write it like app_metadata.tenant_id`},
		{"limits without limit", "limits:\n  tenants:\n    - {claim: plan, equals: free}", ":3: limits.tenants[0]: sets no limit; set max_tenant_client_conn, max_tenant_server_conn, statement_timeout, transaction_timeout or idle_transaction_timeout, or remove the entry"},
		{"limits of a tenant given twice", "limits:\n  tenants:\n    - {tenant: " + someTenant + ", statement_timeout: 5s}\n    - {claim: a, equals: b, statement_timeout: 5s}\n    - {tenant: " + strings.ToUpper(someTenant) + ", statement_timeout: 5s}", ":5: limits.tenants[2]: never counts: limits.tenants[0] is for the same tenants, and the first entry that fits counts; remove one"},
		{"negative limits of a tenant", "limits:\n  tenants:\n    - {claim: a, equals: b, max_tenant_client_conn: -1, max_tenant_server_conn: -2}", ":3: limits.tenants[0].max_tenant_client_conn: -1 is below 0\n:3: limits.tenants[0].max_tenant_server_conn: -2 is below 0"},
		{"negative timeouts of a tenant", "limits:\n  tenants:\n    - {claim: a, equals: b, statement_timeout: -1s, transaction_timeout: -2s, idle_transaction_timeout: -3s}", ":3: limits.tenants[0].statement_timeout: -1s is below 0s\n:3: limits.tenants[0].transaction_timeout: -2s is below 0s\n:3: limits.tenants[0].idle_transaction_timeout: -3s is below 0s"},
		{"misspelled limit of a tenant", "limits:\n  tenants:\n    - {claim: a, equals: b, max_tenant_server_con: 1, statement_timeout: 1s}", ":3: limits.tenants[0].max_tenant_server_con: unknown key; did you mean max_tenant_server_conn?"},
		{"timeout in another section", "listen: {transaction_timeout: 5s}", ":1: listen.transaction_timeout: unknown key here; it belongs under timeouts"},
		{"small buffer", "limits: {statement_buffer: 1000}", ":1: limits.statement_buffer: 1000 is outside 1KiB to 1GiB"},
		{"large buffer", "limits: {statement_buffer: 2GiB}", ":1: limits.statement_buffer: 2GiB is outside 1KiB to 1GiB"},
		{"log level", "log: {level: verbose}", `:1: log.level: "verbose" is not one of debug, info, warn, error`},
		{"log format", "log: {format: jsn}", `:1: log.format: "jsn" is not one of text, json; did you mean json?`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, t.TempDir(), "config.yaml", complete(tt.text))
			l, err := load(path, os.Stderr)
			if err == nil {
				t.Fatalf("accepted as %+v", l.file)
			}
			got := strings.ReplaceAll(err.Error(), path, "")
			if got != tt.want && (!strings.HasSuffix(tt.want, ": ") || !strings.HasPrefix(got, tt.want)) {
				t.Errorf("\n got %s\nwant %s", got, tt.want)
			}
			for _, secret := range []string{testSecret, "swordfish", "not-a-number"} {
				if strings.Contains(got, secret) {
					t.Errorf("the secret %q is shown: %s", secret, got)
				}
			}
		})
	}
}

func TestTimeoutsBelowZeroAreRefused(t *testing.T) {
	endless := map[string]bool{"query_wait_timeout": true, "client_idle_timeout": true, "idle_transaction_timeout": true, "statement_timeout": true, "transaction_timeout": true, "server_lifetime": true, "server_idle_timeout": true, "shutdown_timeout": true}
	for _, key := range []string{
		"client_login_timeout", "query_wait_timeout", "client_idle_timeout", "idle_transaction_timeout", "statement_timeout", "transaction_timeout", "server_connect_timeout",
		"server_reset_timeout", "server_lifetime", "server_idle_timeout", "cancel_wait_timeout", "shutdown_timeout",
	} {
		if _, err := loadText(t, complete("timeouts: {"+key+": -1s}")); err == nil || !strings.Contains(err.Error(), ":1: timeouts."+key+": -1s ") {
			t.Errorf("%s: -1s: %v", key, err)
		}
		if _, err := loadText(t, complete("timeouts: {"+key+": 0s}")); (err == nil) != endless[key] {
			t.Errorf("%s: 0s: %v", key, err)
		}
	}
}

func TestTextThatIsNoConfigurationIsRefused(t *testing.T) {
	for _, tt := range []struct{ name, text, want string }{
		{"nothing", "", ": the file is empty; begin from config.example.yaml"},
		{"comments", "# listen:\n#\n", ": the file is empty; begin from config.example.yaml"},
		{"null", "~\n", ": the file is empty; begin from config.example.yaml"},
		{"begin of a document", "---\n", ": the file is empty; begin from config.example.yaml"},
		{"two documents", minimal + "---\n" + minimal, ": a second document begins behind `---`; only one is allowed"},
		{"broken second document", minimal + "---\n{", ": a second document begins behind `---`; only one is allowed"},
		{"variable in braces", "auth:\n  keys:\n    - {algorithm: HS256, secret: ${TEST_SET}}", ": line 2: did not find expected ',' or '}'; between { and } write a variable in quotes: \"${NAME}\""},
		{"not YAML", "listen: {", ": line 1: did not find expected node content"},
		{"tab", "listen:\n\taddress: x", ": line 2: found character that cannot start any token"},
		{"list", "- listen", ": want a section of keys and values"},
		{"unknown anchor", "http: *x", ": unknown anchor 'x' referenced"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := writeFile(t, t.TempDir(), "config.yaml", tt.text)
			_, err := load(path, os.Stderr)
			if err == nil {
				t.Fatal("accepted")
			}
			if first, _, _ := strings.Cut(strings.ReplaceAll(err.Error(), path, ""), "\n"); first != tt.want {
				t.Errorf("got %s, want %s", first, tt.want)
			}
		})
	}
	if _, err := load(filepath.Join(t.TempDir(), "none.yaml"), os.Stderr); err == nil {
		t.Error("a file that is not there is accepted")
	}
}

func TestAllMistakesAreReportedAtOnceInTheOrderOfTheFile(t *testing.T) {
	_, err := loadText(t, `listen: {address: nowhere}
log: {level: loud}
auth: {keys: [{algorithm: HS255, secret: `+testSecret+`}], tenant_format: "["}
databases:
  app: {dsn: host=h, pool_size: 0}
timeouts: {query_wait_timeout: soon}
`)
	if err == nil {
		t.Fatal("accepted")
	}
	var got []string
	for line := range strings.Lines(err.Error()) {
		_, place, _ := strings.Cut(line, "config.yaml:")
		parts := strings.SplitN(place, ": ", 3)
		got = append(got, strings.Join(parts[:2], " "))
	}
	want := "1 listen.address,2 log.level,3 auth.keys[0].algorithm,3 auth.tenant_format,5 databases.app.pool_size,6 timeouts.query_wait_timeout"
	if strings.Join(got, ",") != want {
		t.Errorf("got  %s\nwant %s", strings.Join(got, ","), want)
	}
}

func TestAliasesAreResolved(t *testing.T) {
	l, err := loadText(t, complete(`
databases:
  a: &a {dsn: host=h, pool_size: 7}
  b: *a
`))
	if err != nil {
		t.Fatal(err)
	}
	if a, b := l.server.Databases["a"], l.server.Databases["b"]; a.PoolSize != 7 || b.PoolSize != 7 {
		t.Errorf("pool sizes %d and %d, want 7", a.PoolSize, b.PoolSize)
	}
}

func TestSocketDirectoryTakesAPort(t *testing.T) {
	dir := t.TempDir()
	for address, port := range map[string]string{dir: "6432", dir + ":6433": "6433"} {
		l, err := loadText(t, complete("listen: {address: \""+address+"\"}"))
		if err != nil {
			t.Fatal(err)
		}
		if got := l.server.Listen; got.Address != dir || got.Port != port {
			t.Errorf("%s: got %s and port %s", address, got.Address, got.Port)
		}
	}
}

func FuzzConfiguration(f *testing.F) {
	f.Add(minimal)
	f.Add("m:\n  <<: {? [x] : y}\n  ? [x]\n  : z")
	f.Add("a: &a [*a]")
	if example, err := os.ReadFile("../../config.example.yaml"); err == nil {
		f.Add(string(example))
	}
	f.Fuzz(func(t *testing.T, text string) {
		p := &problems{file: "f", lines: map[string]int{}, hidden: map[string]string{}}
		if c, err := parse(p, []byte(text), "/"); err == nil && c == nil {
			t.Error("neither a configuration nor an error")
		}
	})
}
