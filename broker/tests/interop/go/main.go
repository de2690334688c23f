// franz-go.   go run . HOST:PORT     Partitions are assigned here; go run . member name=value ... is a member of a group.
package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Content as it is compared: a nil slice and an empty one are not the same on the wire.
type record struct {
	partition  int32
	key, value []byte
	headers    []kgo.RecordHeader
	timestamp  int64
}

var (
	address string
	prefix  = fmt.Sprintf("franz-%d-%d-", os.Getpid(), time.Now().UnixMilli()%100000)
	start   = time.Now().UnixMilli() - 3600000
	failed  int
	admin   *kadm.Client
)

func main() {
	if os.Args[1] == "member" {
		options := map[string]string{}
		for _, option := range os.Args[2:] {
			name, value, _ := strings.Cut(option, "=")
			options[name] = value
		}
		member(options)
		return
	}
	address = os.Args[1]
	client := open()
	admin = kadm.NewClient(client)
	for _, codec := range []struct {
		name  string
		codec kgo.CompressionCodec
	}{{"none", kgo.NoCompression()}, {"gzip", kgo.GzipCompression()}, {"snappy", kgo.SnappyCompression()}, {"lz4", kgo.Lz4Compression()}, {"zstd", kgo.ZstdCompression()}} {
		check("records of every shape, "+codec.name, func(ctx context.Context) { everyShape(ctx, codec.name, codec.codec) })
	}
	check("acks=1", func(ctx context.Context) { acks(ctx, "acks-1", kgo.LeaderAck()) })
	check("acks=0", func(ctx context.Context) { acks(ctx, "acks-0", kgo.NoAck()) })
	check("many small batches, idempotent", manyBatches)
	check("records of 1 MiB", large)
	check("100 partitions", manyPartitions)
	check("read from the end", fromTheEnd)
	check("read from an offset and a timestamp", fromAnOffset)
	check("offsets listed", offsets)
	check("a topic deleted and made again", deleted)
	check("records deleted", recordsDeleted)
	check("partitions added", partitionsAdded)
	check("configs described and changed", configs)
	check("errors have their codes", errorCodes)
	check("nodes of the cluster", cluster)
	client.Close()
	if failed > 0 {
		os.Exit(1)
	}
}

// A broken check panics with what it found; that is reported and the next one goes on.
func check(what string, run func(context.Context)) {
	began := time.Now()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	defer func() {
		if found := recover(); found != nil {
			failed++
			fmt.Printf("FAIL franz-go: %s: %.500s\n", what, strings.ReplaceAll(fmt.Sprint(found), "\n", " "))
			return
		}
		fmt.Printf("ok   franz-go: %s (%.1f s)\n", what, time.Since(began).Seconds())
	}()
	run(ctx)
}

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func same(found, wanted any, what string) {
	if !reflect.DeepEqual(found, wanted) {
		panic(fmt.Sprintf("%s: %.250s for %.250s", what, fmt.Sprint(found), fmt.Sprint(wanted)))
	}
}

func open(options ...kgo.Opt) *kgo.Client {
	base := []kgo.Opt{kgo.SeedBrokers(address), kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ProducerBatchMaxBytes(1 << 20), kgo.MetadataMinAge(50 * time.Millisecond)}
	client, err := kgo.NewClient(append(base, options...)...)
	must(err)
	return client
}

// Records of every awkward shape, spread over the partitions.
func samples(count int, partitions int32) []record {
	shapes := []record{
		{key: []byte("key"), value: []byte("value")}, {value: []byte("no key")}, {key: []byte("tombstone")}, {key: []byte("empty"), value: []byte{}},
		{key: []byte{}, value: []byte("empty key")}, {},
		{key: []byte("h"), value: []byte("headers"), headers: []kgo.RecordHeader{{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "b", Value: []byte{}}, {Key: "a", Value: []byte("1")}, {Key: "n"}}},
		{key: []byte("schlüssel"), value: []byte("wert 😀"), headers: []kgo.RecordHeader{{Key: "köpf", Value: []byte("€")}}},
		{key: []byte("long"), value: bytes.Repeat([]byte("x"), 5000)}, {key: []byte{0, 255}, value: bytes.Repeat([]byte{0, 1, 254, 255}, 64)},
	}
	out := make([]record, count)
	for at := range out {
		out[at] = shapes[at%len(shapes)]
		out[at].partition, out[at].timestamp = int32(at)%partitions, start+int64(at)
	}
	return out
}

func topic(ctx context.Context, name string, partitions int32, configs map[string]*string) string {
	_, err := admin.CreateTopic(ctx, partitions, 1, configs, prefix+name)
	must(err)
	until(ctx, func() bool { return partitionsOf(ctx, prefix+name) == int(partitions) })
	return prefix + name
}

func until(ctx context.Context, condition func() bool) {
	for !condition() {
		must(ctx.Err())
		time.Sleep(50 * time.Millisecond)
	}
}

func partitionsOf(ctx context.Context, name string) int {
	found, err := admin.ListTopics(ctx, name)
	must(err)
	if found[name].Err != nil {
		return 0
	}
	return len(found[name].Partitions)
}

func produce(ctx context.Context, name string, records []record, options ...kgo.Opt) error {
	client := open(options...)
	defer client.Close()
	out := make([]*kgo.Record, len(records))
	for at, r := range records {
		out[at] = &kgo.Record{Topic: name, Partition: r.partition, Key: r.key, Value: r.value, Headers: r.headers, Timestamp: time.UnixMilli(r.timestamp)}
	}
	return client.ProduceSync(ctx, out...).FirstErr()
}

func consume(ctx context.Context, name string, partitions int32, from kgo.Offset, count int, whenThere func()) []record {
	places := map[int32]kgo.Offset{}
	for at := int32(0); at < partitions; at++ {
		places[at] = from
	}
	client := open(kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{name: places}), kgo.FetchMaxWait(300*time.Millisecond), kgo.ConsumeResetOffset(kgo.NoResetOffset()))
	defer client.Close()
	if whenThere != nil {
		quick, cancel := context.WithTimeout(ctx, 700*time.Millisecond)
		client.PollFetches(quick)
		cancel()
		whenThere()
	}
	var found []record
	next := map[int32]int64{}
	for len(found) < count {
		fetches := client.PollFetches(ctx)
		must(ctx.Err())
		for _, problem := range fetches.Errors() {
			must(problem.Err)
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if due, known := next[r.Partition]; known {
				same(r.Offset, due, "offset")
			}
			next[r.Partition] = r.Offset + 1
			headers := r.Headers
			if len(headers) == 0 {
				headers = nil
			}
			found = append(found, record{r.Partition, r.Key, r.Value, headers, r.Timestamp.UnixMilli()})
		})
	}
	return found
}

func compare(found, wanted []record, partitions int32) {
	same(len(found), len(wanted), "number of records")
	for at := int32(0); at < partitions; at++ {
		same(of(found, at), of(wanted, at), fmt.Sprintf("partition %d", at))
	}
}

func of(records []record, partition int32) (out []record) {
	for _, r := range records {
		if r.partition == partition {
			out = append(out, r)
		}
	}
	return out
}

func everyShape(ctx context.Context, name string, codec kgo.CompressionCodec) {
	name = topic(ctx, name, 3, nil)
	sent := samples(300, 3)
	must(produce(ctx, name, sent, kgo.ProducerBatchCompression(codec)))
	compare(consume(ctx, name, 3, kgo.NewOffset().AtStart(), len(sent), nil), sent, 3)
}

func acks(ctx context.Context, name string, acks kgo.Acks) {
	name = topic(ctx, name, 1, nil)
	sent := samples(50, 1)
	must(produce(ctx, name, sent, kgo.RequiredAcks(acks), kgo.DisableIdempotentWrite()))
	compare(consume(ctx, name, 1, kgo.NewOffset().AtStart(), len(sent), nil), sent, 1)
}

func manyBatches(ctx context.Context) {
	name := topic(ctx, "batches", 4, nil)
	sent := samples(2000, 4)
	must(produce(ctx, name, sent, kgo.ProducerBatchMaxBytes(6000)))
	compare(consume(ctx, name, 4, kgo.NewOffset().AtStart(), len(sent), nil), sent, 4)
}

func large(ctx context.Context) {
	name := topic(ctx, "large", 1, nil)
	var sent []record
	for at := 0; at < 8; at++ {
		value := make([]byte, 1000000+at)
		rand.Read(value)
		sent = append(sent, record{value: value, timestamp: start + int64(at)})
	}
	must(produce(ctx, name, sent))
	compare(consume(ctx, name, 1, kgo.NewOffset().AtStart(), len(sent), nil), sent, 1)
}

func manyPartitions(ctx context.Context) {
	name := topic(ctx, "hundred", 100, nil)
	sent := samples(2000, 100)
	must(produce(ctx, name, sent))
	compare(consume(ctx, name, 100, kgo.NewOffset().AtStart(), len(sent), nil), sent, 100)
}

func fromTheEnd(ctx context.Context) {
	name := topic(ctx, "end", 1, nil)
	sent := samples(20, 1)
	must(produce(ctx, name, sent[:10]))
	found := consume(ctx, name, 1, kgo.NewOffset().AtEnd(), 10, func() { must(produce(ctx, name, sent[10:])) })
	compare(found, sent[10:], 1)
}

func fromAnOffset(ctx context.Context) {
	name := topic(ctx, "offset", 1, nil)
	sent := samples(100, 1)
	for at := 0; at < 100; at += 20 {
		must(produce(ctx, name, sent[at:at+20]))
	}
	for _, at := range []int64{0, 1, 19, 20, 57, 99} {
		compare(consume(ctx, name, 1, kgo.NewOffset().At(at), 100-int(at), nil), sent[at:], 1)
		compare(consume(ctx, name, 1, kgo.NewOffset().AfterMilli(start+at), 100-int(at), nil), sent[at:], 1)
	}
}

func offsets(ctx context.Context) {
	name := topic(ctx, "offsets", 1, nil)
	must(produce(ctx, name, samples(30, 1)))
	at := func(found kadm.ListedOffsets, err error) int64 {
		must(err)
		place, _ := found.Lookup(name, 0)
		must(place.Err)
		return place.Offset
	}
	same(at(admin.ListStartOffsets(ctx, name)), int64(0), "start")
	same(at(admin.ListEndOffsets(ctx, name)), int64(30), "end")
	same(at(admin.ListCommittedOffsets(ctx, name)), int64(30), "committed")
	same(at(admin.ListOffsetsAfterMilli(ctx, start+7, name)), int64(7), "after a time")
	same(at(admin.ListMaxTimestampOffsets(ctx, name)), int64(29), "latest time")
}

func deleted(ctx context.Context) {
	name := topic(ctx, "gone", 2, nil)
	must(produce(ctx, name, samples(20, 2)))
	_, err := admin.DeleteTopic(ctx, name)
	must(err)
	until(ctx, func() bool { return partitionsOf(ctx, name) == 0 })
	topic(ctx, "gone", 1, nil)
	found, err := admin.ListEndOffsets(ctx, name)
	must(err)
	place, _ := found.Lookup(name, 0)
	same(place.Offset, int64(0), "end of the new one")
	sent := samples(20, 1)
	must(produce(ctx, name, sent))
	compare(consume(ctx, name, 1, kgo.NewOffset().AtStart(), len(sent), nil), sent, 1)
}

func recordsDeleted(ctx context.Context) {
	name := topic(ctx, "trimmed", 1, nil)
	sent := samples(30, 1)
	must(produce(ctx, name, sent))
	places := kadm.Offsets{}
	places.Add(kadm.Offset{Topic: name, Partition: 0, At: 12})
	found, err := admin.DeleteRecords(ctx, places)
	must(err)
	place, _ := found.Lookup(name, 0)
	must(place.Err)
	same(place.LowWatermark, int64(12), "low watermark")
	compare(consume(ctx, name, 1, kgo.NewOffset().AtStart(), 18, nil), sent[12:], 1)
}

func partitionsAdded(ctx context.Context) {
	name := topic(ctx, "grown", 2, nil)
	found, err := admin.UpdatePartitions(ctx, 7, name)
	must(err)
	must(found.Error())
	until(ctx, func() bool { return partitionsOf(ctx, name) == 7 })
	sent := samples(70, 7)
	must(produce(ctx, name, sent))
	compare(consume(ctx, name, 7, kgo.NewOffset().AtStart(), len(sent), nil), sent, 7)
}

func configs(ctx context.Context) {
	name := topic(ctx, "configured", 1, map[string]*string{"cleanup.policy": kadm.StringPtr("compact")})
	read := func(key string) string {
		found, err := admin.DescribeTopicConfigs(ctx, name)
		must(err)
		for _, config := range found[0].Configs {
			if config.Key == key {
				return config.MaybeValue()
			}
		}
		return "(absent)"
	}
	same(read("cleanup.policy"), "compact", "cleanup.policy")
	same(read("retention.ms"), "604800000", "retention.ms")
	changed, err := admin.AlterTopicConfigs(ctx, []kadm.AlterConfig{{Op: kadm.SetConfig, Name: "retention.ms", Value: kadm.StringPtr("9000")}}, name)
	if err == nil {
		err = changed[0].Err
	}
	// A broker that does not offer the API is not held to it.
	if err != nil && strings.Contains(err.Error(), "broker is too old") {
		return
	}
	must(err)
	until(ctx, func() bool { return read("retention.ms") == "9000" })
}

func errorCodes(ctx context.Context) {
	small := topic(ctx, "small", 1, map[string]*string{"max.message.bytes": kadm.StringPtr("1000")})
	is := func(err error, wanted *kerr.Error) {
		if !errors.Is(err, wanted) {
			panic(fmt.Sprintf("%v for %v", err, wanted))
		}
	}
	is(produce(ctx, small, []record{{value: make([]byte, 3000)}}, kgo.ProducerBatchCompression(kgo.NoCompression())), kerr.MessageTooLarge)
	_, err := admin.CreateTopic(ctx, 1, 1, nil, small)
	is(err, kerr.TopicAlreadyExists)
	_, err = admin.CreateTopic(ctx, 0, 1, nil, prefix+"zero")
	is(err, kerr.InvalidPartitions)
	_, err = admin.CreateTopic(ctx, 1, 9, nil, prefix+"replicas")
	is(err, kerr.InvalidReplicationFactor)
	_, err = admin.DeleteTopic(ctx, prefix+"missing")
	is(err, kerr.UnknownTopicOrPartition)
}

func cluster(ctx context.Context) {
	found, err := admin.Metadata(ctx)
	must(err)
	same(len(found.Brokers) >= 1 && found.Cluster != "", true, "brokers and cluster id")
}
