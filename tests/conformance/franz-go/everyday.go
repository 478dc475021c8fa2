package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"millstream/conformance/driver"
)

const patience = 20 * time.Second

// worker holds what stays alive over all orders.
type worker struct {
	topic  string
	client *kgo.Client
	admin  *kadm.Client
	// partition is what the consumer reads now; below zero: none.
	partition int32
}

// everyday carries out the orders on standard input, until it closes.
func everyday(o driver.Options) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchMaxBytes(8<<20),
		kgo.ProducerBatchCompression(kgo.NoCompression()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	w := &worker{topic: o.Topic, client: client, admin: kadm.NewClient(client), partition: -1}
	return driver.ObeyOrders(w.obey, code)
}

func (w *worker) obey(words []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	switch words[0] {
	case "create":
		_, err := w.admin.CreateTopic(ctx, int32(driver.Number(words[1])), 1, nil, w.topic)
		return err
	case "delete":
		_, err := w.admin.DeleteTopic(ctx, w.topic)
		// franz-go holds on to a topic's id until it is told to forget the topic.
		w.client.PurgeTopicsFromClient(w.topic)
		w.partition = -1
		return err
	case "send":
		record, err := w.client.ProduceSync(ctx, &kgo.Record{
			Topic:     w.topic,
			Partition: int32(driver.Number(words[1])),
			Timestamp: time.UnixMilli(driver.Number(words[2])),
			Key:       []byte(words[3]),
			Value:     make([]byte, driver.Number(words[4])),
		}).First()
		if err == nil {
			fmt.Println("offset", record.Offset)
		}
		return err
	case "offset-for":
		offset, err := w.listed(ctx, int32(driver.Number(words[1])), func() (kadm.ListedOffsets, error) {
			return w.admin.ListOffsetsAfterMilli(ctx, driver.Number(words[2]), w.topic)
		})
		if err == nil {
			fmt.Println("offset", offset)
		}
		return err
	case "seek":
		return w.seek(ctx, int32(driver.Number(words[1])), words[2])
	case "read":
		return w.read(ctx, int(driver.Number(words[1])))
	}
	return fmt.Errorf("no order %q", words[0])
}

func (w *worker) listed(ctx context.Context, partition int32, list func() (kadm.ListedOffsets, error)) (int64, error) {
	all, err := list()
	if err != nil {
		return 0, err
	}
	offset, ok := all.Lookup(w.topic, partition)
	if !ok {
		return 0, errors.New("no such partition in the answer")
	}
	return offset.Offset, offset.Err
}

func (w *worker) seek(ctx context.Context, partition int32, place string) error {
	var offset int64
	var err error
	switch place {
	case "beginning":
		offset, err = w.listed(ctx, partition, func() (kadm.ListedOffsets, error) {
			return w.admin.ListStartOffsets(ctx, w.topic)
		})
	case "end":
		offset, err = w.listed(ctx, partition, func() (kadm.ListedOffsets, error) {
			return w.admin.ListEndOffsets(ctx, w.topic)
		})
	default:
		offset = driver.Number(place)
	}
	if err != nil {
		return err
	}
	if w.partition >= 0 {
		w.client.RemoveConsumePartitions(map[string][]int32{w.topic: {w.partition}})
	}
	w.partition = partition
	w.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{w.topic: {partition: kgo.NewOffset().At(offset)}})
	fmt.Println("offset", offset)
	return nil
}

func (w *worker) read(ctx context.Context, count int) error {
	for count > 0 {
		fetches := w.client.PollFetches(ctx)
		if ctx.Err() != nil {
			return errors.Join(errors.New("records did not come in time"), fetches.Err())
		}
		fetches.EachRecord(func(r *kgo.Record) {
			fmt.Println("record", r.Offset, r.Timestamp.UnixMilli(), string(r.Key), len(r.Value))
			count--
		})
	}
	return nil
}
