package devbroker_test

import (
	"context"
	"fmt"

	"github.com/hookmux/hookmux/mux/devbroker"
)

func Example() {
	b, err := devbroker.Start(context.Background(), devbroker.Config{
		Listen: "127.0.0.1:0",
		ExHook: "http://127.0.0.1:9", // nobody there: clients go unhooked
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer b.Close()
	fmt.Println(b.Publish("hello", []byte("world"), 1, false))
	// Output: <nil>
}
