package admin

import (
	"context"
	"net/http"
	"time"
)

// Doubles is a time during which events may come twice, because brokers load hookmux
// under a second name before they unload the first.
type Doubles struct {
	Until *time.Time `json:"until,omitempty"` // nil: there is none
	// Nodes are the brokers that have loaded hookmux a second time and not yet unloaded it.
	Nodes []string `json:"nodes"`
	// Recognised is how many second calls there were, about which nobody was asked again.
	Recognised int64 `json:"recognised"`
}

// maxDoublesFor is how long such a time may be without being announced again.
const maxDoublesFor = 10 * time.Minute

// expectDoubles takes the query for=30s; 0s says that it is over.
func (h *handler) expectDoubles(r *http.Request) (any, error) {
	during, err := time.ParseDuration(r.URL.Query().Get("for"))
	if err != nil || during < 0 || during > maxDoublesFor {
		return nil, &Error{Code: "bad_request", Message: "for: expected a duration from 0s to 10m, such as 30s"}
	}
	return h.control.ExpectDoubles(during), nil
}

// ExpectDoubles announces that for so long events may come twice; 0 says that it is over.
func (c *Client) ExpectDoubles(ctx context.Context, during time.Duration) (d Doubles, err error) {
	return d, c.do(ctx, http.MethodPost, "/v1/doubles?for="+during.String(), &d)
}
