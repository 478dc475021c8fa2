package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millstream/conformance/driver"
)

// group is one member: it says what it is assigned, reads and commits, until standard input closes.
func group(o driver.Options) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	mine := make(map[int32]bool)
	say := func() {
		var all []int
		for p := range mine {
			all = append(all, int(p))
		}
		slices.Sort(all)
		fmt.Println(strings.TrimSpace("assigned " + strings.Trim(fmt.Sprint(all), "[]")))
	}
	change := func(present bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, changed map[string][]int32) {
			for _, p := range changed[o.Topic] {
				if present {
					mine[p] = true
				} else {
					delete(mine, p)
				}
			}
			say()
		}
	}
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap),
		kgo.ConsumerGroup(o.Group),
		kgo.ConsumeTopics(o.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.SessionTimeout(6*time.Second),
		kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.DisableAutoCommit(),
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)),
		kgo.OnPartitionsLost(change(false)),
	)
	if err != nil {
		return err
	}
	for ctx.Err() == nil {
		fetches := client.PollFetches(ctx)
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if n := len(p.Records); n > 0 {
				fmt.Println("records", p.Partition, p.Records[0].Offset, p.Records[n-1].Offset)
			}
		})
		if records := fetches.Records(); len(records) > 0 {
			if err := client.CommitRecords(context.Background(), records...); err != nil {
				fmt.Println("error commit", err)
			} else {
				fetches.EachPartition(func(p kgo.FetchTopicPartition) {
					if n := len(p.Records); n > 0 {
						fmt.Println("committed", p.Partition, p.Records[n-1].Offset+1)
					}
				})
			}
		}
		client.AllowRebalance()
	}
	client.CloseAllowingRebalance()
	return nil
}
