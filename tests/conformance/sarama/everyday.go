package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/IBM/sarama"

	"millstream/conformance/driver"
)

const patience = 20 * time.Second

// worker holds what stays alive over all orders.
type worker struct {
	topic    string
	client   sarama.Client
	admin    sarama.ClusterAdmin
	producer sarama.SyncProducer
	consumer sarama.Consumer
	reader   sarama.PartitionConsumer
}

// everyday carries out the orders on standard input, until it closes.
func everyday(o driver.Options) error {
	config := newConfig()
	config.Producer.Idempotent = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Net.MaxOpenRequests = 1
	config.Producer.MaxMessageBytes = 8 << 20
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Return.Successes = true
	client, err := sarama.NewClient([]string{o.Bootstrap}, config)
	if err != nil {
		return err
	}
	w := &worker{topic: o.Topic, client: client}
	if w.admin, err = sarama.NewClusterAdminFromClient(client); err != nil {
		return err
	}
	if w.producer, err = sarama.NewSyncProducerFromClient(client); err != nil {
		return err
	}
	if w.consumer, err = sarama.NewConsumerFromClient(client); err != nil {
		return err
	}
	obeyed := driver.ObeyOrders(w.obey, code)
	if w.reader != nil {
		_ = w.reader.Close()
	}
	return errors.Join(obeyed, w.producer.Close(), w.consumer.Close(), client.Close())
}

func (w *worker) obey(words []string) error {
	switch words[0] {
	case "create":
		detail := &sarama.TopicDetail{NumPartitions: int32(driver.Number(words[1])), ReplicationFactor: 1}
		return w.admin.CreateTopic(w.topic, detail, false)
	case "delete":
		return w.admin.DeleteTopic(w.topic)
	case "send":
		_, offset, err := w.producer.SendMessage(&sarama.ProducerMessage{
			Topic:     w.topic,
			Partition: int32(driver.Number(words[1])),
			Timestamp: time.UnixMilli(driver.Number(words[2])),
			Key:       sarama.StringEncoder(words[3]),
			Value:     sarama.ByteEncoder(make([]byte, driver.Number(words[4]))),
		})
		if err == nil {
			fmt.Println("offset", offset)
		}
		return err
	case "offset-for":
		offset, err := w.client.GetOffset(w.topic, int32(driver.Number(words[1])), driver.Number(words[2]))
		if err == nil {
			fmt.Println("offset", offset)
		}
		return err
	case "seek":
		return w.seek(int32(driver.Number(words[1])), words[2])
	case "read":
		return w.read(driver.Number(words[1]))
	}
	return fmt.Errorf("no order %q", words[0])
}

func (w *worker) seek(partition int32, place string) error {
	if w.reader != nil {
		if err := w.reader.Close(); err != nil {
			return err
		}
		w.reader = nil
	}
	var offset int64
	var err error
	switch place {
	case "beginning":
		offset, err = w.client.GetOffset(w.topic, partition, sarama.OffsetOldest)
	case "end":
		offset, err = w.client.GetOffset(w.topic, partition, sarama.OffsetNewest)
	default:
		offset = driver.Number(place)
	}
	if err != nil {
		return err
	}
	if w.reader, err = w.consumer.ConsumePartition(w.topic, partition, offset); err != nil {
		return err
	}
	fmt.Println("offset", offset)
	return nil
}

func (w *worker) read(count int64) error {
	end := time.After(patience)
	for ; count > 0; count-- {
		select {
		case m, ok := <-w.reader.Messages():
			if !ok {
				return errors.New("the consumer ended")
			}
			fmt.Println("record", m.Offset, m.Timestamp.UnixMilli(), string(m.Key), len(m.Value))
		case <-end:
			return errors.New("records did not come in time")
		}
	}
	return nil
}
