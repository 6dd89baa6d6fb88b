package main

import (
	"bytes"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hookmux/hookmux/plugins/sdk"
)

// The time counts from the answer, however often it is asked for.
func TestCacheTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		k, err := newCache(cacheConfig{TTL: sdk.Duration(time.Minute), NegativeTTL: sdk.Duration(time.Second)})
		if err != nil {
			t.Fatal(err)
		}
		yes, no := k.key("login", client("alice", secret), secret), k.key("login", client("alice", "x"), "x")
		k.put(yes, good)
		k.put(no, wrong)
		for range 59 {
			time.Sleep(time.Second)
			if o, ok := k.get(yes); !ok || o != good {
				t.Fatal("gone too early")
			}
			if _, ok := k.get(no); ok {
				t.Fatal("a refusal is kept too long")
			}
		}
		time.Sleep(time.Second)
		if _, ok := k.get(yes); ok {
			t.Error("kept too long")
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	t.Parallel()
	k, err := newCache(cacheConfig{TTL: sdk.Duration(time.Hour), NegativeTTL: sdk.Duration(time.Hour), Entries: 10})
	if err != nil {
		t.Fatal(err)
	}
	mine := k.key("login", client("alice", secret), secret)
	k.put(mine, good)
	for i := range 1000 { // somebody guesses
		k.put(k.key("login", client("alice", ""), fmt.Sprint(i)), wrong)
	}
	if _, ok := k.get(mine); !ok || k.yes.Len() != 1 || k.no.Len() != 10 {
		t.Errorf("%d and %d entries", k.yes.Len(), k.no.Len())
	}
}

// Without a time nothing is kept.
func TestCacheIsOffByDefault(t *testing.T) {
	t.Parallel()
	k, err := newCache(cacheConfig{})
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []outcome{good, wrong, unknown, superuser} {
		k.put(k.key("login", client("alice", secret), secret), o)
	}
	if k.yes.Len()+k.no.Len() != 0 {
		t.Error("something is kept")
	}
}

// Keys differ where the question does, and between processes; no password is in them.
func TestCacheKeys(t *testing.T) {
	t.Parallel()
	c := cacheConfig{TTL: 1}
	k, _ := newCache(c)
	other, _ := newCache(c)
	seen := map[cacheKey]string{}
	add := func(name string, key cacheKey) {
		if twin, ok := seen[key]; ok {
			t.Errorf("%s has the key of %s", name, twin)
		}
		if bytes.Contains(key[:], []byte("pw")) {
			t.Error("the password is in the key")
		}
		seen[key] = name
	}
	add("alice", k.key("login", &sdk.ClientInfo{Username: "alice"}, "pw"))
	add("alice in another process", other.key("login", &sdk.ClientInfo{Username: "alice"}, "pw"))
	add("alice's rights", k.key("superuser", &sdk.ClientInfo{Username: "alice"}, "pw"))
	add("client alice", k.key("login", &sdk.ClientInfo{Clientid: "alice"}, "pw"))
	add("ali ce", k.key("login", &sdk.ClientInfo{Username: "ali", Clientid: "ce"}, "pw"))
	add("no password", k.key("login", &sdk.ClientInfo{Username: "alice"}, ""))
	add("alicepw", k.key("login", &sdk.ClientInfo{Username: "alicepw"}, ""))
}
