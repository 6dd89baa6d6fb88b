// Presence keeps who is online and writes down every change.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/hookmux/hookmux/plugins/sdk"
)

type config struct {
	// File gets one JSON object per change; none if empty.
	File string `json:"file"`
}

type plugin struct {
	config config

	mu     sync.Mutex
	online map[connection]bool
	file   *os.File
}

// connection tells an old connection of a client from its new one: when a
// session is taken over, the new one may be reported before the old one's end.
type connection struct {
	client, host string
	port         uint32
}

// change is one line of the file.
type change struct {
	Time   time.Time `json:"time"`
	Event  string    `json:"event"`
	Client string    `json:"client"`
	User   string    `json:"user,omitempty"`
	Detail string    `json:"detail,omitempty"`
	Online int       `json:"online"`
}

func (p *plugin) Start(context.Context) (err error) {
	if p.config.File != "" {
		p.file, err = os.OpenFile(p.config.File, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	}
	return err
}

func (p *plugin) Stop(context.Context) error {
	if p.file == nil {
		return nil
	}
	return errors.Join(p.file.Sync(), p.file.Close())
}

func (p *plugin) OnClientConnected(_ context.Context, r *sdk.ClientConnectedRequest) error {
	return p.note("connected", r.GetClientinfo(), "", func(c connection) { p.online[c] = true })
}

func (p *plugin) OnClientDisconnected(_ context.Context, r *sdk.ClientDisconnectedRequest) error {
	return p.note("disconnected", r.GetClientinfo(), r.GetReason(), func(c connection) { delete(p.online, c) })
}

func (p *plugin) OnSessionSubscribed(_ context.Context, r *sdk.SessionSubscribedRequest) error {
	return p.note("subscribed", r.GetClientinfo(), r.GetTopic(), nil)
}

func (p *plugin) OnSessionUnsubscribed(_ context.Context, r *sdk.SessionUnsubscribedRequest) error {
	return p.note("unsubscribed", r.GetClientinfo(), r.GetTopic(), nil)
}

func (p *plugin) OnSessionTakenover(_ context.Context, r *sdk.SessionTakenoverRequest) error {
	return p.note("taken over", r.GetClientinfo(), "", nil)
}

func (p *plugin) OnSessionTerminated(_ context.Context, r *sdk.SessionTerminatedRequest) error {
	return p.note("terminated", r.GetClientinfo(), r.GetReason(), nil)
}

// note applies and writes down one change. The lock keeps the lines in the
// order of the changes they tell of.
func (p *plugin) note(event string, client *sdk.ClientInfo, detail string, apply func(connection)) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.online == nil {
		p.online = map[connection]bool{}
	}
	if apply != nil {
		apply(connection{client.GetClientid(), client.GetPeerhost(), client.GetPeerport()})
	}
	c := change{time.Now().UTC(), event, client.GetClientid(), client.GetUsername(), detail, len(p.online)}
	slog.Info(c.Event, "client", c.Client, "user", c.User, "detail", c.Detail, "online", c.Online)
	if p.file == nil {
		return nil
	}
	return json.NewEncoder(p.file).Encode(c)
}

func main() {
	var p plugin
	sdk.MustConfig(&p.config)
	sdk.Serve(&p)
}
