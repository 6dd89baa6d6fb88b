package mux

import (
	"fmt"
	"slices"
	"strings"
)

// Delivery is how notifications reach a provider. The zero value is async.
type Delivery uint8

// The deliveries.
const (
	Async   Delivery = iota // the broker is answered at once, the provider gets the event behind
	Sync                    // the broker is answered after the provider has handled the event
	Durable                 // the broker is answered once the event is stored, until the provider has handled it
)

var deliveryNames = []string{"async", "sync", "durable"}

func (d Delivery) String() string { return deliveryNames[d] }

// DeliveryNames lists the words that ParseDelivery takes.
func DeliveryNames() []string { return deliveryNames }

// ParseDelivery reads a word of the config.
func ParseDelivery(s string) (Delivery, error) {
	for i, n := range deliveryNames {
		if s == n {
			return Delivery(i), nil
		}
	}
	return 0, fmt.Errorf("%q is no delivery: use async, sync or durable", s)
}

// Deliveries is how each hook's events reach a provider. The zero value is async.
type Deliveries [NumHooks]Delivery

// By is the same delivery for all hooks.
func By(d Delivery) (all Deliveries) {
	for _, h := range Hooks() {
		all[h] = d
	}
	return all
}

// AnyDurable says whether some hook's events are stored.
func (d *Deliveries) AnyDurable() bool { return slices.Contains(d[:], Durable) }

func (d Deliveries) String() string {
	if d == By(d[ClientConnect]) {
		return d[ClientConnect].String()
	}
	var words []string
	for _, h := range Hooks() {
		if d[h] != Async {
			words = append(words, h.String()+": "+d[h].String())
		}
	}
	return strings.Join(words, ", ")
}
