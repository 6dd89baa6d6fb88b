package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/hookmux/hookmux/mux/devbroker"
)

// patience bounds every wait for something that should happen at once.
const patience = 2 * time.Minute

// system is hookmux with its plugins, and perhaps a broker.
type system struct {
	o       options
	hookmux *exec.Cmd
	exited  chan struct{}
	broker  *devbroker.Broker // nil: somebody else's
	mqtt    string
}

// start starts hookmux and the broker, and waits until the one has loaded the other.
func start(ctx context.Context, o options, stderr io.Writer) (s *system, err error) {
	s = &system{o: o, exited: make(chan struct{}), mqtt: o.mqtt}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.stop())
		}
	}()
	listen := "127.0.0.1:0"
	if o.mqtt != "" {
		listen = "127.0.0.1:9000" // which the EMQX knows
	}
	s.hookmux = exec.Command(filepath.Join(o.programs, "hookmux"), "run", "--config", o.config)
	s.hookmux.Env = append(os.Environ(), "FLEET_DIR="+o.dir, "FLEET_BIN="+o.programs, "FLEET_LISTEN="+listen)
	s.hookmux.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // so that Ctrl-C is ours alone
	logs, err := s.hookmux.StderrPipe()
	if err != nil {
		return s, err
	}
	if err := s.hookmux.Start(); err != nil {
		s.hookmux = nil
		return s, fmt.Errorf("start hookmux: %w (has make build made it?)", err)
	}
	address := make(chan string, 1)
	go func() {
		read(logs, address, stderr)
		_ = s.hookmux.Wait()
		close(s.exited)
	}()
	select {
	case listen = <-address:
	case <-s.exited:
		return s, errors.New("hookmux ended at once; its log is above")
	case <-ctx.Done():
		return s, ctx.Err()
	}
	if o.mqtt != "" {
		return s, nil
	}
	// Every answer is asked for, so that each refusal is seen.
	s.broker, err = devbroker.Start(ctx, devbroker.Config{Listen: "127.0.0.1:0", ExHook: listen, AutoReconnect: time.Second, AuthzCache: -1})
	if err != nil {
		return s, fmt.Errorf("start the broker: %w", err)
	}
	s.mqtt = s.broker.Addr()
	wait, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return s, s.broker.WaitLoaded(wait)
}

// read takes the address from hookmux's log, which is JSON, and shows what is wrong,
// but for what the kills explain.
func read(logs io.Reader, address chan<- string, stderr io.Writer) {
	lines := bufio.NewScanner(logs)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Level, Msg, Address, Provider, Error string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			fmt.Fprintln(stderr, lines.Text())
			continue
		}
		if line.Address != "" {
			select {
			case address <- line.Address:
			default: // it has been told
			}
		}
		if line.Level == "ERROR" && line.Msg != "plugin is down" {
			fmt.Fprintf(stderr, "\nhookmux: %s: %s %s\n", line.Msg, line.Provider, line.Error)
		}
	}
}

// stop ends all that start started.
func (s *system) stop() (err error) {
	if s.broker != nil {
		err = s.broker.Close()
	}
	if s.hookmux == nil {
		return err
	}
	_ = s.hookmux.Process.Signal(syscall.SIGTERM)
	select {
	case <-s.exited:
	case <-time.After(patience):
		_ = s.hookmux.Process.Kill()
		<-s.exited
		err = errors.Join(err, errors.New("hookmux did not end"))
	}
	return err
}

// status asks hookmux how its providers are.
func (s *system) status(ctx context.Context) ([]provider, error) {
	out, err := exec.CommandContext(ctx, s.hookmux.Path, "status", "--json", "--admin", filepath.Join(s.o.dir, "admin.sock")).Output()
	if err != nil {
		return nil, err
	}
	var status struct{ Providers []provider }
	err = json.Unmarshal(out, &status)
	return status.Providers, err
}

type provider struct {
	Name   string
	Status string
	Pid    int
}

// killer kills plugins, one after another, until ctx ends, and says how many.
func (s *system) killer(ctx context.Context, every time.Duration) (stop func() int) {
	ctx, cancel := context.WithCancel(ctx)
	killed := 0
	var wg sync.WaitGroup
	wg.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-ctx.Done():
				return
			case <-time.After(every):
			}
			all, err := s.status(ctx)
			if err != nil || len(all) == 0 {
				continue
			}
			// The ones that store: who decides logins would refuse them meanwhile.
			for _, p := range all {
				if p.Pid != 0 && p.Status == "up" && (p.Name == "presence" || p.Name == "archive") && (i%2 == 0) == (p.Name == "presence") {
					if syscall.Kill(p.Pid, syscall.SIGKILL) == nil {
						killed++
					}
				}
			}
		}
	})
	return func() int { cancel(); wg.Wait(); return killed }
}
