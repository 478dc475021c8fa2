package main

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"

	"github.com/IBM/sarama"
)

// The frames that README.md of the parent folder describes: a record as the harness writes and reads it.

type frame struct {
	body []byte
	at   int
}

func (f *frame) i32() int32 {
	v := int32(binary.BigEndian.Uint32(f.body[f.at:]))
	f.at += 4
	return v
}

func (f *frame) i64() int64 {
	v := int64(binary.BigEndian.Uint64(f.body[f.at:]))
	f.at += 8
	return v
}

func (f *frame) bytes() []byte {
	n := f.i32()
	if n < 0 {
		return nil
	}
	v := f.body[f.at : f.at+int(n) : f.at+int(n)]
	f.at += int(n)
	return v
}

// encoder keeps none apart from empty, which an encoder of a nil slice would not.
func encoder(v []byte) sarama.Encoder {
	if v == nil {
		return nil
	}
	return sarama.ByteEncoder(v)
}

// readRecord returns io.EOF at the clean end of the input.
func readRecord(in *bufio.Reader, topic string) (*sarama.ProducerMessage, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return nil, err
	}
	f := &frame{body: make([]byte, binary.BigEndian.Uint32(length[:]))}
	if _, err := io.ReadFull(in, f.body); err != nil {
		return nil, err
	}
	f.i64() // The offset is the broker's to give.
	m := &sarama.ProducerMessage{Topic: topic, Partition: f.i32()}
	m.Timestamp = time.UnixMilli(f.i64())
	m.Key = encoder(f.bytes())
	m.Value = encoder(f.bytes())
	for n := f.i32(); n > 0; n-- {
		name := f.bytes()
		m.Headers = append(m.Headers, sarama.RecordHeader{Key: name, Value: f.bytes()})
	}
	return m, nil
}

func putBytes(b []byte, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, 0xffffffff)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

func appendRecord(b []byte, m *sarama.ConsumerMessage) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(m.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(m.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(m.Timestamp.UnixMilli()))
	b = putBytes(b, m.Key)
	b = putBytes(b, m.Value)
	b = binary.BigEndian.AppendUint32(b, uint32(len(m.Headers)))
	for _, h := range m.Headers {
		b = putBytes(b, h.Key)
		b = putBytes(b, h.Value)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
