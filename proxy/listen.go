package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// defaultPort names the socket file in a Unix socket directory.
const defaultPort = "6432"

// listen opens the address: host:port, or a directory for a Unix socket.
func listen(l Listen) (net.Listener, error) {
	if !strings.HasPrefix(l.Address, "/") {
		config := net.ListenConfig{Control: tune}
		config.SetMultipathTCP(false) // its sockets cost more and do not inherit all that tune sets
		ln, err := config.Listen(context.Background(), "tcp", l.Address)
		if err != nil {
			return nil, fmt.Errorf("listen.address: %w", err)
		}
		return ln, nil
	}
	port := l.Port
	if port == "" {
		port = defaultPort
	}
	path := filepath.Join(l.Address, ".s.PGSQL."+port)
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	ln, err := net.Listen("unix", path)
	if err != nil {
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	// Anyone on this machine may connect; the token decides, as on TCP loopback.
	if err := os.Chmod(path, 0o777); err != nil { //nolint:gosec // a socket that clients of other users connect to
		_ = ln.Close()
		return nil, fmt.Errorf("listen.address: %w", err)
	}
	return ln, nil
}

// removeStale removes the socket file of a process that is gone.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != os.ModeSocket {
		return fmt.Errorf("%s is in the way and is not a socket", path)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		_ = conn.Close()
		return fmt.Errorf("another process listens on %s", path)
	}
	return os.Remove(path)
}
