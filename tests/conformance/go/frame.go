package driver

import (
	"bufio"
	"encoding/binary"
	"io"
	"time"
)

// Record is what a frame holds. A nil key, value or header value is null.
type Record struct {
	Offset     int64
	Partition  int32
	Timestamp  time.Time
	Key, Value []byte
	Headers    []Header
}

// Header is one of a record's.
type Header struct{ Name, Value []byte }

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

// ReadRecord returns io.EOF at the clean end of the input.
func ReadRecord(in *bufio.Reader) (Record, error) {
	var length [4]byte
	if _, err := io.ReadFull(in, length[:]); err != nil {
		return Record{}, err
	}
	f := &frame{body: make([]byte, binary.BigEndian.Uint32(length[:]))}
	if _, err := io.ReadFull(in, f.body); err != nil {
		return Record{}, err
	}
	r := Record{Offset: f.i64(), Partition: f.i32()}
	r.Timestamp = time.UnixMilli(f.i64())
	r.Key = f.bytes()
	r.Value = f.bytes()
	for n := f.i32(); n > 0; n-- {
		name := f.bytes()
		r.Headers = append(r.Headers, Header{name, f.bytes()})
	}
	return r, nil
}

func putBytes(b []byte, v []byte) []byte {
	if v == nil {
		return binary.BigEndian.AppendUint32(b, 0xffffffff)
	}
	b = binary.BigEndian.AppendUint32(b, uint32(len(v)))
	return append(b, v...)
}

// AppendRecord appends one frame.
func AppendRecord(b []byte, r Record) []byte {
	start := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint64(b, uint64(r.Offset))
	b = binary.BigEndian.AppendUint32(b, uint32(r.Partition))
	b = binary.BigEndian.AppendUint64(b, uint64(r.Timestamp.UnixMilli()))
	b = putBytes(b, r.Key)
	b = putBytes(b, r.Value)
	b = binary.BigEndian.AppendUint32(b, uint32(len(r.Headers)))
	for _, h := range r.Headers {
		b = putBytes(b, h.Name)
		b = putBytes(b, h.Value)
	}
	binary.BigEndian.PutUint32(b[start:], uint32(len(b)-start-4))
	return b
}
