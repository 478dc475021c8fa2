package main

import (
	"context"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"millstream/conformance/driver"
)

// provoke does what must fail and prints how it failed.
func provoke(o driver.Options) error {
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap),
		kgo.UnknownTopicRetries(1),
		kgo.ProducerBatchMaxBytes(8<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	attempt := func(topic string, size int) string {
		record := &kgo.Record{Topic: topic, Value: make([]byte, size)}
		if err := client.ProduceSync(ctx, record).FirstErr(); err != nil {
			return code(err)
		}
		return "0"
	}
	fmt.Println("unknown-topic-produce", attempt(o.Topic+"-unknown", 10))
	fmt.Println("too-large", attempt(o.Topic, 2<<20))
	fmt.Println("after-too-large", attempt(o.Topic, 10))

	reader, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap),
		kgo.KeepRetryableFetchErrors(),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{o.Topic + "-unknown": {0: kgo.NewOffset().AtStart()}}),
	)
	if err != nil {
		return err
	}
	defer reader.Close()
	if err := reader.PollFetches(ctx).Err(); err != nil {
		fmt.Println("unknown-topic-consume", code(err))
	} else {
		fmt.Println("unknown-topic-consume 0")
	}
	return nil
}
