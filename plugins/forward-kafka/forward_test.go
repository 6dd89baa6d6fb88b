package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/hookmux/hookmux/mux/muxtest/targets"
	"github.com/hookmux/hookmux/plugins/internal/plugintest"
	"github.com/hookmux/hookmux/plugins/sdk"
)

func TestMain(m *testing.M) { plugintest.Main(m, main) }

// consumer reads topics from their beginning.
func consumer(t *testing.T, broker string, options ...kgo.Opt) *kgo.Client {
	t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{
		kgo.SeedBrokers(broker), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.MetadataMinAge(100 * time.Millisecond), kgo.MetadataMaxAge(time.Second),
	}, options...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// read is at least n records.
func read(t *testing.T, c *kgo.Client, n int) (records []*kgo.Record) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	for len(records) < n && ctx.Err() == nil {
		records = append(records, c.PollFetches(ctx).Records()...)
	}
	if len(records) < n {
		t.Fatalf("%d records of %d", len(records), n)
	}
	return records
}

// makeTopic makes a topic with one partition.
func makeTopic(t *testing.T, broker, name string, configs map[string]string) {
	t.Helper()
	c, err := kgo.NewClient(kgo.SeedBrokers(broker))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	for name, value := range configs {
		conf := kmsg.NewCreateTopicsRequestTopicConfig()
		conf.Name, conf.Value = name, &value
		topic.Configs = append(topic.Configs, conf)
	}
	req := kmsg.NewPtrCreateTopicsRequest()
	req.Topics = append(req.Topics, topic)
	res, err := req.RequestWith(t.Context(), c)
	if err == nil {
		err = kerr.ErrorForCode(res.Topics[0].ErrorCode)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func header(r *kgo.Record, name string) string {
	for _, h := range r.Headers {
		if h.Key == name {
			return string(h.Value)
		}
	}
	return ""
}

func newPlugin(t *testing.T, config string) *plugintest.Plugin {
	t.Helper()
	p := &plugin{config: defaults()}
	plugintest.Configure(t, config, &p.config)
	return plugintest.New(t, p)
}

func TestUnderHookmux(t *testing.T) {
	t.Parallel()
	broker := targets.Kafka(t).Broker
	h := plugintest.Run(t, fmt.Sprintf("observe: true\ntimeout: 60s\nconfig: {brokers: [%q], create_topics: true, topic: \"e2e.{topic.1}\"}", broker))
	for i := range 200 {
		h.Publish(t, fmt.Sprint("c", i%7), "a/b", fmt.Sprint(i))
	}
	h.Stop()
	next := make(map[string]int)
	for _, r := range read(t, consumer(t, broker, kgo.ConsumeTopics("e2e.a")), 200) {
		client := string(r.Key)
		i := 7*next[client] + int(client[1]-'0')
		next[client]++
		if string(r.Value) != fmt.Sprint(i) || header(r, "mqtt-topic") != "a/b" || header(r, "mqtt-client") != client || header(r, "mqtt-hook") != "message.publish" {
			t.Errorf("%s %s %v, want %d", r.Key, r.Value, r.Headers, i)
		}
	}
}

func TestHostileTopics(t *testing.T) {
	t.Parallel()
	broker := targets.Kafka(t).Broker
	h := newPlugin(t, fmt.Sprintf(`{"brokers": [%q], "create_topics": true, "topic": "hostile.{topic}"}`, broker))
	long := strings.Repeat("é/", 30_000)
	want := map[string]string{
		"../../etc/passwd": "hostile._____.._etc.passwd", "a b\tc": "hostile.a_b_c", "": "hostile._", "x/\x00": "hostile.x._", "$share/#/+": "hostile._share._._",
		long: "", long + "x": "",
	}
	want["../../etc/passwd"] = "hostile.__.__.etc.passwd"
	for topic := range want {
		if err := h.Publish(t.Context(), "", &sdk.Message{Topic: topic, From: "c\r\n\x00", Payload: []byte(topic)}); err != nil {
			t.Errorf("%.30q: %v", topic, err)
		}
	}
	names := make(map[string]bool)
	for _, r := range read(t, consumer(t, broker, kgo.ConsumeRegex(), kgo.ConsumeTopics("^hostile\\..*")), len(want)) {
		if name := want[string(r.Value)]; name != "" && r.Topic != name || header(r, "mqtt-topic") != string(r.Value) || string(r.Key) != "c\r\n\x00" {
			t.Errorf("%.40q is in %s, want %s", r.Value, r.Topic, name)
		}
		names[r.Topic] = true
	}
	if len(names) != len(want) {
		t.Errorf("%d topics", len(names))
	}
}

// What cannot be taken fails alone, and says what to do.
func TestFailures(t *testing.T) {
	t.Parallel()
	broker := targets.Kafka(t).Broker
	h := newPlugin(t, fmt.Sprintf(`{"brokers": [%q], "create_topics": true, "topic": "failures"}`, broker))
	payloads := [][]byte{[]byte("a"), make([]byte, 2<<20), []byte("b")}
	for i := range payloads[1] {
		payloads[1][i] = byte(i * i >> 8 * 31) // or it would be small when compressed
	}
	errs := make(chan error, len(payloads))
	for i, payload := range payloads {
		go func() { errs <- h.Publish(t.Context(), fmt.Sprint(i), &sdk.Message{Topic: "t", Payload: payload}) }()
	}
	var failed []error
	for range payloads {
		if err := <-errs; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) != 1 || !strings.Contains(failed[0].Error(), "2097152 bytes are more than max_message") {
		t.Error(failed)
	}
	read(t, consumer(t, broker, kgo.ConsumeTopics("failures")), 2)

	h = newPlugin(t, fmt.Sprintf(`{"brokers": [%q], "topic": "nobody-made-it"}`, broker))
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := h.Publish(ctx, "1", &sdk.Message{Topic: "t"}); err == nil || !strings.Contains(err.Error(), "there is no topic nobody-made-it; make it, or set create_topics") {
		t.Error(err)
	}
}

// A topic that takes less at once than max_message gets all, in order, but for what alone is too large.
func TestSmallTopic(t *testing.T) {
	t.Parallel()
	broker := targets.Kafka(t).Broker
	makeTopic(t, broker, "small", map[string]string{"max.message.bytes": "20000"})
	p := &plugin{config: defaults()}
	plugintest.Configure(t, fmt.Sprintf(`{"brokers": [%q], "compression": "none", "max_message": 400000}`, broker), &p.config)
	plugintest.New(t, p)
	const clients, each = 5, 200
	var records []*kgo.Record
	for n := range clients * each {
		records = append(records, &kgo.Record{Topic: "small", Key: fmt.Append(nil, n%clients), Value: fmt.Appendf(nil, "%1000d", 1+n/clients)})
	}
	for client := range clients { // from now on the topic is known, and records could go one by one
		first := &kgo.Record{Topic: "small", Key: fmt.Append(nil, client), Value: []byte("0")}
		p.produce(t.Context(), []*kgo.Record{first}, func(_ *kgo.Record, err error) { t.Error(err) })
	}
	large := &kgo.Record{Topic: "small", Key: []byte("large"), Value: make([]byte, 30_000)}
	p.produce(t.Context(), slices.Insert(records, len(records)/2, large), func(r *kgo.Record, err error) {
		if r != large {
			t.Errorf("client %s, %s: %v", r.Key, strings.TrimSpace(string(r.Value)), err)
		} else if err = p.explained(r, err); !strings.Contains(err.Error(), "30000 bytes are more than max_message, the topic or the brokers allow") {
			t.Error(err)
		}
	})
	next := make(map[string]int)
	for _, r := range read(t, consumer(t, broker, kgo.ConsumeTopics("small")), clients*(1+each)) {
		if n := strings.TrimSpace(string(r.Value)); n != fmt.Sprint(next[string(r.Key)]) {
			t.Errorf("client %s: %s, want %d", r.Key, n, next[string(r.Key)])
		}
		next[string(r.Key)]++
	}
}

// An event whose topic is missing does not hold up those beside it, and is written as soon as there is
// one: it was tried but once, and does not count.
func TestMissingTopic(t *testing.T) {
	t.Parallel()
	broker := targets.Kafka(t).Broker
	makeTopic(t, broker, "there.good", nil)
	h := plugintest.RunTop(t, "spool: {tries: 1}",
		fmt.Sprintf("observe: true\ndelivery: durable\ntimeout: 5m\nconfig: {brokers: [%q], topic: \"there.{topic.1}\"}", broker))
	h.Publish(t, "late", "late", "0")
	plugintest.Eventually(t, "it is tried", func() bool {
		return strings.Contains(h.Log(), "there is no topic there.late; make it, or set create_topics")
	})
	good := consumer(t, broker, kgo.ConsumeTopics("there.good"))
	for n := range 20 { // a minute and more each if they waited for the topics beside them
		h.Publish(t, fmt.Sprint("missing", n), fmt.Sprint("missing", n), "")
		h.Publish(t, "good", "good", fmt.Sprint(n))
	}
	read(t, good, 20)
	makeTopic(t, broker, "there.late", nil)
	read(t, consumer(t, broker, kgo.ConsumeTopics("there.late")), 1)
}

// Killed, stopped and frozen under load, nothing is lost, what is there twice has the same id, and
// each client's messages are in order.
func TestOutages(t *testing.T) {
	t.Parallel()
	server := targets.NewKafka(t)
	h := newPlugin(t, fmt.Sprintf(`{"brokers": [%q], "create_topics": true, "topic": "outage"}`, server.Broker))
	const clients, each = 40, 300
	type numbered struct{ client, n int }
	events := make([][]numbered, clients)
	for c := range events {
		for n := range each {
			events[c] = append(events[c], numbered{c, n})
		}
	}
	done := make(chan []error)
	var taken atomic.Int64
	go func() {
		done <- plugintest.Deliver(t, events, 5000, func(ctx context.Context, e numbered) error {
			err := h.Publish(ctx, fmt.Sprintf("%d-%d", e.client, e.n), &sdk.Message{Topic: "t", From: fmt.Sprint(e.client), Payload: fmt.Append(nil, e.n)})
			if err == nil {
				taken.Add(1)
			}
			return err
		})
	}()
	count := func(atLeast int64) {
		plugintest.Eventually(t, fmt.Sprint(atLeast, " messages"), func() bool { return taken.Load() >= atLeast })
	}
	count(500)
	server.Kill(t)
	server.Start(t)
	count(3000)
	server.Stop(t)
	server.Start(t)
	count(6000)
	server.Pause(t)
	time.Sleep(3 * time.Second) // longer than an event has: it must end in errors, not in a wait
	server.Resume(t)
	if failed := <-done; len(failed) > 0 {
		t.Errorf("%d were never taken, such as %v", len(failed), failed[0])
	}
	next, seen, again := make(map[string]int), make(map[string]bool), 0
	c := consumer(t, server.Broker, kgo.ConsumeTopics("outage"))
	for len(seen) < clients*each {
		for _, r := range read(t, c, 1) {
			id := header(r, "mqtt-event-id")
			if id != string(r.Key)+"-"+string(r.Value) {
				t.Errorf("client %s: %s has the id %s", r.Key, r.Value, id)
			}
			if seen[id] {
				again++
				continue
			}
			seen[id] = true
			if string(r.Value) != fmt.Sprint(next[string(r.Key)]) {
				t.Errorf("client %s: %s, want %d", r.Key, r.Value, next[string(r.Key)])
			}
			next[string(r.Key)]++
		}
	}
	t.Logf("%d came twice", again)
}
