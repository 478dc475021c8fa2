package main

import (
	"errors"
	"fmt"

	"github.com/IBM/sarama"

	"millstream/conformance/driver"
)

// provoke does what must fail and prints how it failed.
func provoke(o driver.Options) error {
	config := newConfig()
	config.Producer.MaxMessageBytes = 8 << 20
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	config.Metadata.Retry.Max = 1
	client, err := sarama.NewClient([]string{o.Bootstrap}, config)
	if err != nil {
		return err
	}
	defer client.Close()
	producer, err := sarama.NewSyncProducerFromClient(client)
	if err != nil {
		return err
	}
	defer producer.Close()
	attempt := func(topic string, size int) string {
		_, _, err := producer.SendMessage(&sarama.ProducerMessage{Topic: topic, Value: sarama.ByteEncoder(make([]byte, size))})
		return code(err)
	}
	fmt.Println("unknown-topic-produce", attempt(o.Topic+"-unknown", 10))
	fmt.Println("too-large", attempt(o.Topic, 2<<20))
	fmt.Println("after-too-large", attempt(o.Topic, 10))
	_, err = client.GetOffset(o.Topic+"-unknown", 0, sarama.OffsetOldest)
	fmt.Println("unknown-topic-consume", code(err))
	return nil
}

// code is Kafka's number of an error, or the error's own words where it has none.
func code(err error) string {
	if err == nil {
		return "0"
	}
	if known, ok := errors.AsType[sarama.KError](err); ok {
		return fmt.Sprint(int16(known))
	}
	return err.Error()
}
