package admin

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"

	"github.com/hookmux/hookmux/mux/trail"
)

// Followed is something that a follower is sent; one of its fields is set.
type Followed struct {
	Decision     *trail.Decision     `json:"decision,omitempty"`
	Notification *trail.Notification `json:"notification,omitempty"`
	Lost         *Lost               `json:"lost,omitempty"`
}

// maxLine is more than any event has, in bytes.
const maxLine = 1 << 20

// Follow calls f with events as they happen, until ctx ends, f fails, or hookmux goes away.
// following, if not nil, is called when nothing is missed any more.
func (c *Client) Follow(ctx context.Context, filter trail.Filter, following func(), f func(Followed) error) error {
	body, err := c.open(ctx, http.MethodGet, "/v1/tail?"+values(filter.Client, filter.Hook, filter.Provider, filter.Topic).Encode())
	if err != nil {
		return err
	}
	defer body.Close()
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	var event string
	for lines.Scan() {
		line := lines.Bytes()
		switch name, value, _ := bytes.Cut(line, []byte(": ")); string(name) {
		case "": // a comment: the connection is there
			if following != nil {
				following()
				following = nil
			}
		case "event":
			event = string(value)
		case "data":
			e, err := parseFollowed(event, value)
			if err == nil {
				err = f(e)
			}
			if err != nil {
				return err
			}
		}
	}
	switch err := lines.Err(); {
	case ctx.Err() != nil:
		return ctx.Err()
	case err != nil:
		return fmt.Errorf("hookmux went away: %w", err)
	}
	return fmt.Errorf("hookmux went away: %w", io.EOF)
}

func parseFollowed(event string, data []byte) (e Followed, err error) {
	switch event {
	case "decision":
		err = json.Unmarshal(data, &e.Decision)
	case "notification":
		err = json.Unmarshal(data, &e.Notification)
	case "lost":
		err = json.Unmarshal(data, &e.Lost)
	}
	return e, err
}
