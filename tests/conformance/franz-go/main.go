// franz-go as a conformance driver: carries records between the harness and a broker.
// The commands and what they print are described in README.md of the parent folder.
package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"millstream/conformance/driver"
)

func main() {
	driver.Main(map[string]func(driver.Options) error{
		"create": create, "produce": produce, "consume": consume, "group": group, "errors": provoke, "everyday": everyday,
	})
}

func codec(name string) kgo.CompressionCodec {
	switch name {
	case "gzip":
		return kgo.GzipCompression()
	case "snappy":
		return kgo.SnappyCompression()
	case "lz4":
		return kgo.Lz4Compression()
	case "zstd":
		return kgo.ZstdCompression()
	}
	return kgo.NoCompression()
}

func create(o driver.Options) error {
	ctx := context.Background()
	client, err := kgo.NewClient(kgo.SeedBrokers(o.Bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(o.Partitions), 1, nil, o.Topic)
	return err
}

func produce(o driver.Options) error {
	ctx := context.Background()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec(o.Compression)),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	var lock sync.Mutex
	var failed error
	acked := make(driver.Acks)
	for {
		record, err := driver.ReadRecord(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		client.Produce(ctx, toSend(record, o.Topic), func(r *kgo.Record, err error) {
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				failed = err
				return
			}
			acked.Add(r.Partition, r.Offset)
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	acked.Print()
	return nil
}

func consume(o driver.Options) error {
	ctx := context.Background()
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.Bootstrap),
		kgo.ConsumeTopics(o.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, o.Topic)
	if err != nil {
		return err
	}
	if err := ends.Error(); err != nil {
		return err
	}
	left := make(map[int32]int64)
	ends.Each(func(end kadm.ListedOffset) {
		if end.Offset > 0 {
			left[end.Partition] = end.Offset
		}
	})
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	var buffer []byte
	for len(left) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			buffer = driver.AppendRecord(buffer[:0], received(r))
			_, _ = out.Write(buffer)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

func toSend(r driver.Record, topic string) *kgo.Record {
	record := &kgo.Record{
		Topic:     topic,
		Partition: r.Partition,
		Timestamp: r.Timestamp,
		Key:       r.Key,
		Value:     r.Value,
	}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, kgo.RecordHeader{Key: string(h.Name), Value: h.Value})
	}
	return record
}

func received(r *kgo.Record) driver.Record {
	record := driver.Record{
		Offset:    r.Offset,
		Partition: r.Partition,
		Timestamp: r.Timestamp,
		Key:       r.Key,
		Value:     r.Value,
	}
	for _, h := range r.Headers {
		record.Headers = append(record.Headers, driver.Header{Name: []byte(h.Key), Value: h.Value})
	}
	return record
}

// code is Kafka's number of an error, or the error's own words where it has none.
func code(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return fmt.Sprint(known.Code)
	}
	return err.Error()
}
