// sarama as a conformance driver: carries records between the harness and a broker.
// The commands and what they print are described in README.md of the parent folder.
package main

import (
	"bufio"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"
)

type options struct {
	bootstrap, topic, group, compression string
	partitions                           int
}

func main() {
	if len(os.Args) < 2 {
		fail(errors.New("usage: sarama create|produce|consume|group|errors --bootstrap HOST:PORT --topic NAME"))
	}
	var o options
	flags := flag.NewFlagSet(os.Args[1], flag.ExitOnError)
	flags.StringVar(&o.bootstrap, "bootstrap", "", "broker address")
	flags.StringVar(&o.topic, "topic", "", "topic")
	flags.StringVar(&o.group, "group", "", "consumer group")
	flags.StringVar(&o.compression, "compression", "none", "batch compression")
	flags.IntVar(&o.partitions, "partitions", 1, "partitions of a topic to create")
	_ = flags.Parse(os.Args[2:])
	run := map[string]func(options) error{
		"create": create, "produce": produce, "consume": consume, "group": group, "errors": provoke, "everyday": everyday,
	}[os.Args[1]]
	if run == nil {
		fail(fmt.Errorf("no command %q", os.Args[1]))
	}
	if err := run(o); err != nil {
		fail(err)
	}
}

func fail(err error) {
	fmt.Fprintln(os.Stderr, "sarama: Error:", err)
	os.Exit(1)
}

// newConfig asks for the newest protocol that sarama knows.
func newConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.AllowAutoTopicCreation = false
	return config
}

func create(o options) error {
	admin, err := sarama.NewClusterAdmin([]string{o.bootstrap}, newConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(o.topic, &sarama.TopicDetail{NumPartitions: int32(o.partitions), ReplicationFactor: 1}, false)
}

func produce(o options) error {
	config := newConfig()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	if err := config.Producer.Compression.UnmarshalText([]byte(o.compression)); err != nil {
		return err
	}
	producer, err := sarama.NewAsyncProducer([]string{o.bootstrap}, config)
	if err != nil {
		return err
	}
	acked := newAcks()
	// Answers are counted before the producer is closed, for it does not retry while it closes.
	var waiting sync.WaitGroup
	go func() {
		for message := range producer.Successes() {
			acked.add(message.Partition, message.Offset)
			waiting.Done()
		}
	}()
	var failure error
	go func() {
		for err := range producer.Errors() {
			failure = err
			waiting.Done()
		}
	}()
	in := bufio.NewReaderSize(os.Stdin, 1<<20)
	for {
		message, err := readRecord(in, o.topic)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		waiting.Add(1)
		producer.Input() <- message
	}
	waiting.Wait()
	if failure != nil {
		return failure
	}
	acked.print()
	return producer.Close()
}

func consume(o options) error {
	client, err := sarama.NewClient([]string{o.bootstrap}, newConfig())
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	partitions, err := client.Partitions(o.topic)
	if err != nil {
		return err
	}
	messages := make(chan *sarama.ConsumerMessage, 1000)
	left := make(map[int32]int64)
	for _, partition := range partitions {
		end, err := client.GetOffset(o.topic, partition, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		if end == 0 {
			continue
		}
		left[partition] = end
		reader, err := consumer.ConsumePartition(o.topic, partition, 0)
		if err != nil {
			return err
		}
		go func() {
			for message := range reader.Messages() {
				messages <- message
			}
		}()
	}
	out := bufio.NewWriterSize(os.Stdout, 1<<20)
	defer out.Flush()
	var buffer []byte
	for len(left) > 0 {
		message := <-messages
		buffer = appendRecord(buffer[:0], message)
		if _, err := out.Write(buffer); err != nil {
			return err
		}
		if message.Offset+1 >= left[message.Partition] {
			delete(left, message.Partition)
		}
	}
	return nil
}
