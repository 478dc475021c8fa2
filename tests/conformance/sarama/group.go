package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/IBM/sarama"

	"millstream/conformance/driver"
)

// member says what it is assigned, reads and commits.
type member struct{ topic string }

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	mine := slices.Clone(session.Claims()[m.topic])
	slices.Sort(mine)
	fmt.Println(strings.TrimSpace("assigned " + strings.Trim(fmt.Sprint(mine), "[]")))
	return nil
}

func (member) Cleanup(sarama.ConsumerGroupSession) error {
	fmt.Println("assigned")
	return nil
}

func (member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for {
		first, ok := next(session.Context(), claim)
		if !ok {
			return nil
		}
		last := first
		// What has arrived besides goes into the same commit.
		for waiting := len(claim.Messages()); waiting > 0; waiting-- {
			if message, ok := <-claim.Messages(); ok {
				last = message
			}
		}
		fmt.Println("records", claim.Partition(), first.Offset, last.Offset)
		session.MarkMessage(last, "")
		session.Commit()
		fmt.Println("committed", claim.Partition(), last.Offset+1)
	}
}

func next(ctx context.Context, claim sarama.ConsumerGroupClaim) (*sarama.ConsumerMessage, bool) {
	select {
	case message, ok := <-claim.Messages():
		return message, ok
	case <-ctx.Done():
		return nil, false
	}
}

// group is one member, until standard input closes.
func group(o driver.Options) error {
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		cancel()
	}()
	config := newConfig()
	config.Consumer.Group.Session.Timeout = 6 * time.Second
	config.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	config.Consumer.Offsets.Initial = sarama.OffsetOldest
	config.Consumer.Offsets.AutoCommit.Enable = false
	config.Consumer.Return.Errors = true
	group, err := sarama.NewConsumerGroup([]string{o.Bootstrap}, o.Group, config)
	if err != nil {
		return err
	}
	go func() {
		for err := range group.Errors() {
			fmt.Println("error", err)
		}
	}()
	for ctx.Err() == nil {
		if err := group.Consume(ctx, []string{o.Topic}, member{o.Topic}); err != nil {
			return err
		}
	}
	return group.Close()
}
