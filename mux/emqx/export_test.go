package emqx

import "context"

// CreateForTest makes an entry as somebody else would.
func (c *Client) CreateForTest(ctx context.Context, settings map[string]any) error {
	return c.create(ctx, settings)
}
