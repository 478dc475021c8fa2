import java.io.BufferedInputStream;
import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;

/** The frames that README.md of the parent folder describes: a record as the harness writes and reads it. */
final class Frames {
    private static final int BUFFER = 1 << 18;

    private Frames() {
    }

    /** Reads what the harness sends. */
    static final class Reader {
        private final DataInputStream in;
        private final String topic;

        Reader(InputStream in, String topic) {
            this.in = new DataInputStream(new BufferedInputStream(in, BUFFER));
            this.topic = topic;
        }

        /** The next record; null at the end. */
        ProducerRecord<byte[], byte[]> next() throws IOException {
            try {
                in.readInt();
            } catch (EOFException end) {
                return null;
            }
            in.readLong(); // The offset is the broker's to give.
            int partition = in.readInt();
            long timestamp = in.readLong();
            byte[] key = bytes();
            byte[] value = bytes();
            ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(topic, partition, timestamp, key, value);
            for (int n = in.readInt(); n > 0; n--) {
                String name = new String(bytes(), StandardCharsets.UTF_8);
                record.headers().add(name, bytes());
            }
            return record;
        }

        private byte[] bytes() throws IOException {
            int length = in.readInt();
            return length < 0 ? null : in.readNBytes(length);
        }
    }

    /** Writes what was consumed. */
    static final class Writer {
        private final DataOutputStream out;

        Writer(OutputStream out) {
            this.out = new DataOutputStream(new BufferedOutputStream(out, BUFFER));
        }

        void write(ConsumerRecord<byte[], byte[]> record) throws IOException {
            int length = 8 + 4 + 8 + length(record.key()) + length(record.value()) + 4;
            int headers = 0;
            for (Header header : record.headers()) {
                length += length(name(header)) + length(header.value());
                headers++;
            }
            out.writeInt(length);
            out.writeLong(record.offset());
            out.writeInt(record.partition());
            out.writeLong(record.timestamp());
            put(record.key());
            put(record.value());
            out.writeInt(headers);
            for (Header header : record.headers()) {
                put(name(header));
                put(header.value());
            }
        }

        void flush() throws IOException {
            out.flush();
        }

        private void put(byte[] bytes) throws IOException {
            out.writeInt(bytes == null ? -1 : bytes.length);
            if (bytes != null) {
                out.write(bytes);
            }
        }

        private static byte[] name(Header header) {
            return header.key().getBytes(StandardCharsets.UTF_8);
        }

        private static int length(byte[] bytes) {
            return 4 + (bytes == null ? 0 : bytes.length);
        }
    }
}
