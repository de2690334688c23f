package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// A member of a group; groups.py says what it is asked and what it prints.
func member(options map[string]string) {
	if options["admin"] != "" {
		fmt.Println(groupAdmin(options))
		return
	}
	ctx, stop := context.WithCancel(context.Background())
	go func() {
		// A line, or the end of whoever started this, ends it.
		bufio.NewReader(os.Stdin).ReadString('\n')
		stop()
	}()
	say := func(format string, words ...any) {
		// One write a line, so that the lines of many members on one pipe stay whole.
		os.Stdout.WriteString(options["name"] + " " + fmt.Sprintf(format, words...) + "\n")
	}
	client := joined(options, owning(say))
	for ctx.Err() == nil {
		fetches := client.PollRecords(ctx, 100)
		for _, problem := range fetches.Errors() {
			if !errors.Is(problem.Err, context.Canceled) && !kerr.IsRetriable(problem.Err) {
				must(problem.Err)
			}
		}
		fetches.EachRecord(func(r *kgo.Record) { say("read %d %d %s", r.Partition, r.Offset, r.Value) })
		switch options["commits"] {
		case "sync":
			tolerate(client.CommitUncommittedOffsets(context.Background()))
		case "async":
			client.CommitOffsets(context.Background(), client.UncommittedOffsets(), nil)
		case "auto":
			client.MarkCommitRecords(fetches.Records()...)
		}
		client.AllowRebalance()
	}
	if options["commits"] == "async" {
		// What was sent last may be under way still.
		tolerate(client.CommitUncommittedOffsets(context.Background()))
	}
	client.CloseAllowingRebalance()
	say("end")
}

// Keeps what is owned, and tells of changes.
func owning(say func(string, ...any)) func(bool, map[string][]int32) {
	var lock sync.Mutex
	owned, told := map[int32]bool{}, "?"
	return func(gained bool, changed map[string][]int32) {
		lock.Lock()
		defer lock.Unlock()
		for _, partitions := range changed {
			for _, partition := range partitions {
				if gained {
					owned[partition] = true
				} else {
					delete(owned, partition)
				}
			}
		}
		var places []int
		for partition := range owned {
			places = append(places, int(partition))
		}
		slices.Sort(places)
		words := make([]string, len(places))
		for at, place := range places {
			words[at] = strconv.Itoa(place)
		}
		if now := strings.Join(words, ","); now != told {
			told = now
			say("assigned %s", now)
		}
	}
}

func joined(options map[string]string, changed func(bool, map[string][]int32)) *kgo.Client {
	session, err := strconv.Atoi(options["session"])
	must(err)
	lost := func(_ context.Context, _ *kgo.Client, places map[string][]int32) { changed(false, places) }
	revoked := func(ctx context.Context, client *kgo.Client, places map[string][]int32) {
		// The client's own does this; it is not asked when there is another.
		if options["commits"] == "auto" {
			tolerate(client.CommitMarkedOffsets(ctx))
		}
		changed(false, places)
	}
	settings := []kgo.Opt{kgo.SeedBrokers(options["address"]), kgo.ConsumerGroup(options["group"]), kgo.ConsumeTopics(options["topic"]), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.FetchMaxWait(100 * time.Millisecond), kgo.BlockRebalanceOnPoll(), kgo.MetadataMinAge(50 * time.Millisecond),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, places map[string][]int32) { changed(true, places) }), kgo.OnPartitionsRevoked(revoked), kgo.OnPartitionsLost(lost)}
	if options["commits"] == "auto" {
		settings = append(settings, kgo.AutoCommitMarks(), kgo.AutoCommitInterval(100*time.Millisecond))
	} else {
		settings = append(settings, kgo.DisableAutoCommit())
	}
	if options["instance"] != "" {
		settings = append(settings, kgo.InstanceID(options["instance"]))
	}
	switch options["kind"] {
	case "consumer":
		settings = append(settings, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	case "range":
		settings = append(settings, kgo.Balancers(kgo.RangeBalancer()))
	}
	if options["kind"] != "consumer" {
		settings = append(settings, kgo.SessionTimeout(time.Duration(session)*time.Millisecond), kgo.HeartbeatInterval(300*time.Millisecond))
	}
	client, err := kgo.NewClient(settings...)
	must(err)
	return client
}

// Who is too late reads it again.
func tolerate(err error) {
	for _, late := range []*kerr.Error{kerr.RebalanceInProgress, kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.FencedMemberEpoch} {
		if errors.Is(err, late) {
			return
		}
	}
	must(err)
}

func groupAdmin(options map[string]string) string {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := kgo.NewClient(kgo.SeedBrokers(options["address"]))
	must(err)
	defer client.Close()
	admin, group := kadm.NewClient(client), options["group"]
	if options["admin"] == "delete" {
		_, err := admin.DeleteGroup(ctx, group)
		must(err)
	}
	listed, err := admin.ListGroups(ctx)
	must(err)
	if _, there := listed[group]; !there {
		return "absent"
	}
	offsets, err := admin.FetchOffsets(ctx, group)
	must(err)
	sum, owned, members, state := int64(0), 0, 0, ""
	offsets.Each(func(place kadm.OffsetResponse) { sum += place.At })
	if options["kind"] == "consumer" {
		described, err := admin.DescribeConsumerGroups(ctx, group)
		must(err)
		found := described[group]
		must(found.Err)
		state, members, owned = found.State, len(found.Members), places(found.AssignedPartitions())
	} else {
		described, err := admin.DescribeGroups(ctx, group)
		must(err)
		found := described[group]
		must(found.Err)
		state, members, owned = found.State, len(found.Members), places(found.AssignedPartitions())
	}
	return fmt.Sprintf("%s members=%d owned=%d offsets=%d", state, members, owned, sum)
}

func places(topics kadm.TopicsSet) (count int) {
	for _, partitions := range topics {
		count += len(partitions)
	}
	return count
}
