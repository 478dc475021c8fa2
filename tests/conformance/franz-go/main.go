// franz-go as a conformance driver: carries records between the harness and a broker.
// The commands and what they print are described in README.md of the parent folder.
package main

import (
	"bufio"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

type options struct {
	bootstrap, topic, group, compression string
	partitions                           int
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: franz-go create|produce|consume|group|errors --bootstrap HOST:PORT --topic NAME"))
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.bootstrap, "bootstrap", "", "broker address")
	flags.StringVar(&o.topic, "topic", "", "topic")
	flags.StringVar(&o.group, "group", "", "consumer group")
	flags.StringVar(&o.compression, "compression", "none", "batch compression")
	flags.IntVar(&o.partitions, "partitions", 1, "partitions of a topic to create")
	_ = flags.Parse(os.Args[2:])
	run := map[string]func(context.Context, options) error{
		"create": create, "produce": produce, "consume": consume, "group": group, "errors": provoke, "everyday": everyday,
	}[os.Args[1]]
	if run == nil {
		fail(fmt.Errorf("no command %q", os.Args[1]))
	}
	if err := run(context.Background(), o); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "franz-go:", err)
	os.Exit(1)
}

func unixMilli(ms int64) time.Time { return time.UnixMilli(ms) }

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

func create(ctx context.Context, o options) error {
	client, err := kgo.NewClient(kgo.SeedBrokers(o.bootstrap))
	if err != nil {
		return err
	}
	defer client.Close()
	_, err = kadm.NewClient(client).CreateTopic(ctx, int32(o.partitions), 1, nil, o.topic)
	return err
}

func produce(ctx context.Context, o options) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.bootstrap),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
		kgo.ProducerBatchCompression(codec(o.compression)),
		kgo.ProducerLinger(5*time.Millisecond),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	var lock sync.Mutex
	var failed error
	acked := newAcks()
	for {
		record, err := readRecord(in, o.topic)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		client.Produce(ctx, record, func(r *kgo.Record, err error) {
			lock.Lock()
			defer lock.Unlock()
			if err != nil {
				failed = err
				return
			}
			acked.add(r.Partition, r.Offset)
		})
	}
	if err := client.Flush(ctx); err != nil {
		return err
	}
	if failed != nil {
		return failed
	}
	acked.print()
	return nil
}

func consume(ctx context.Context, o options) error {
	client, err := kgo.NewClient(
		kgo.SeedBrokers(o.bootstrap),
		kgo.ConsumeTopics(o.topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
	)
	if err != nil {
		return err
	}
	defer client.Close()
	ends, err := kadm.NewClient(client).ListEndOffsets(ctx, o.topic)
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
			buffer = appendRecord(buffer[:0], r)
			_, _ = out.Write(buffer)
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
		})
	}
	return nil
}

// code is Kafka's number of an error, or the error's own words where it has none.
func code(err error) string {
	var known *kerr.Error
	if errors.As(err, &known) {
		return fmt.Sprint(known.Code)
	}
	return err.Error()
}
