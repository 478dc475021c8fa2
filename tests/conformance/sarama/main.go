// sarama as a conformance driver: carries records between the harness and a broker.
// The commands and what they print are described in README.md of the parent folder.
package main

import (
	"bufio"
	"io"
	"os"
	"sync"
	"time"

	"github.com/IBM/sarama"

	"millstream/conformance/driver"
)

func main() {
	driver.Main(map[string]func(driver.Options) error{
		"create": create, "produce": produce, "consume": consume, "group": group, "errors": provoke, "everyday": everyday,
	})
}

// newConfig asks for the newest protocol that sarama knows.
func newConfig() *sarama.Config {
	config := sarama.NewConfig()
	config.Version = sarama.MaxVersion
	config.Metadata.AllowAutoTopicCreation = false
	return config
}

func create(o driver.Options) error {
	admin, err := sarama.NewClusterAdmin([]string{o.Bootstrap}, newConfig())
	if err != nil {
		return err
	}
	defer admin.Close()
	return admin.CreateTopic(o.Topic, &sarama.TopicDetail{NumPartitions: int32(o.Partitions), ReplicationFactor: 1}, false)
}

func produce(o driver.Options) error {
	config := newConfig()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Producer.Flush.Frequency = 5 * time.Millisecond
	if err := config.Producer.Compression.UnmarshalText([]byte(o.Compression)); err != nil {
		return err
	}
	producer, err := sarama.NewAsyncProducer([]string{o.Bootstrap}, config)
	if err != nil {
		return err
	}
	acked := make(driver.Acks)
	// Answers are counted before the producer is closed, for it does not retry while it closes.
	var waiting sync.WaitGroup
	go func() {
		for message := range producer.Successes() {
			acked.Add(message.Partition, message.Offset)
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
		record, err := driver.ReadRecord(in)
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		waiting.Add(1)
		producer.Input() <- toSend(record, o.Topic)
	}
	waiting.Wait()
	if failure != nil {
		return failure
	}
	acked.Print()
	return producer.Close()
}

func consume(o driver.Options) error {
	client, err := sarama.NewClient([]string{o.Bootstrap}, newConfig())
	if err != nil {
		return err
	}
	defer client.Close()
	consumer, err := sarama.NewConsumerFromClient(client)
	if err != nil {
		return err
	}
	partitions, err := client.Partitions(o.Topic)
	if err != nil {
		return err
	}
	messages := make(chan *sarama.ConsumerMessage, 1000)
	left := make(map[int32]int64)
	for _, partition := range partitions {
		end, err := client.GetOffset(o.Topic, partition, sarama.OffsetNewest)
		if err != nil {
			return err
		}
		if end == 0 {
			continue
		}
		left[partition] = end
		reader, err := consumer.ConsumePartition(o.Topic, partition, 0)
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
		buffer = driver.AppendRecord(buffer[:0], received(message))
		if _, err := out.Write(buffer); err != nil {
			return err
		}
		if message.Offset+1 >= left[message.Partition] {
			delete(left, message.Partition)
		}
	}
	return nil
}

func toSend(r driver.Record, topic string) *sarama.ProducerMessage {
	m := &sarama.ProducerMessage{
		Topic:     topic,
		Partition: r.Partition,
		Timestamp: r.Timestamp,
		Key:       encoder(r.Key),
		Value:     encoder(r.Value),
	}
	for _, h := range r.Headers {
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: h.Name, Value: h.Value})
	}
	return m
}

// encoder keeps none apart from empty, which an encoder of a nil slice would not.
func encoder(v []byte) sarama.Encoder {
	if v == nil {
		return nil
	}
	return sarama.ByteEncoder(v)
}

func received(m *sarama.ConsumerMessage) driver.Record {
	r := driver.Record{
		Offset:    m.Offset,
		Partition: m.Partition,
		Timestamp: m.Timestamp,
		Key:       m.Key,
		Value:     m.Value,
	}
	for _, h := range m.Headers {
		r.Headers = append(r.Headers, driver.Header{Name: h.Key, Value: h.Value})
	}
	return r
}
