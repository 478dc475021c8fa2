import java.io.ByteArrayOutputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Iterator;
import java.util.List;
import java.util.Random;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.TimestampType;
import org.apache.kafka.common.record.internal.CompressionType;
import org.apache.kafka.common.record.internal.ControlRecordType;
import org.apache.kafka.common.record.internal.EndTransactionMarker;
import org.apache.kafka.common.record.internal.MemoryRecords;
import org.apache.kafka.common.record.internal.MemoryRecordsBuilder;
import org.apache.kafka.common.record.internal.MutableRecordBatch;
import org.apache.kafka.common.record.internal.Record;
import org.apache.kafka.common.record.internal.RecordBatch;

/** Record batches of all codecs, both ways. */
final class Batches {
    private static final long NOW = 1_700_000_000_000L;

    private final Peer peer;
    private final long seed;
    private final int count;

    Batches(Peer peer, long seed, int count) {
        this.peer = peer;
        this.seed = seed;
        this.count = count;
    }

    List<String> names() {
        List<String> names = new ArrayList<>();
        for (CompressionType codec : CompressionType.values()) {
            names.add(codec.name + " from Kafka");
            names.add(codec.name + " from us");
        }
        names.add("of transaction markers");
        return names;
    }

    void check(String what) throws Exception {
        String codec = what.split(" ")[0];
        if (what.endsWith("markers")) {
            checkMarkers();
        } else if (what.endsWith("Kafka")) {
            checkTheirs(CompressionType.forName(codec));
        } else {
            checkOurs(CompressionType.forName(codec));
        }
    }

    /** We see in Kafka's batches what Kafka sees; batches that we build of it are the same again. */
    private void checkTheirs(CompressionType codec) throws Exception {
        Random random = new Random(seed + codec.id);
        List<byte[]> batches = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            batches.add(build(random, codec));
        }
        compare(batches, codec);
    }

    private void checkMarkers() throws Exception {
        List<byte[]> batches = new ArrayList<>();
        for (ControlRecordType type : List.of(ControlRecordType.COMMIT, ControlRecordType.ABORT)) {
            MemoryRecords records = MemoryRecords.withEndTransactionMarker(
                    77, NOW, 3, 12345L, (short) 6, new EndTransactionMarker(type, 9));
            batches.add(bytes(records.buffer()));
        }
        compare(batches, CompressionType.NONE);
    }

    private void compare(List<byte[]> batches, CompressionType codec) throws Exception {
        List<Peer.Item> items = peer.ask('B', "", 0, 0, batches);
        for (int i = 0; i < batches.size(); i++) {
            String what = "batch " + i;
            Peer.Item listing = items.get(2 * i);
            Peer.Item copy = items.get(2 * i + 1);
            Difference.unless(!listing.isRefused(), () -> what + ": " + listing.refusal());
            RecordBatch batch = read(batches.get(i));
            byte[] wanted = list(batch);
            Difference.unless(Arrays.equals(wanted, listing.bytes()), () -> what + " has other records");
            RecordBatch copied = read(copy.bytes());
            Difference.unless(Arrays.equals(wanted, list(copied)), () -> what + " was built with other records");
            Difference.unless(head(batch).equals(head(copied)), () -> what + ": " + head(batch) + " became " + head(copied));
            boolean isSame = batch.timestampType() == TimestampType.CREATE_TIME && codec == CompressionType.NONE;
            Difference.unless(!isSame || Arrays.equals(batches.get(i), copy.bytes()), () -> what + " is built otherwise");
        }
    }

    /** Kafka reads our batches; it builds the same ones where no codec can differ. */
    private void checkOurs(CompressionType codec) throws Exception {
        List<Peer.Item> pairs = peer.askFor('C', "", codec.id, seed, count);
        Difference.unless(pairs.size() == 2 * count, () -> "not all batches were made");
        for (int i = 0; i < pairs.size(); i += 2) {
            String what = "our batch " + i / 2;
            RecordBatch packed = read(pairs.get(i).bytes());
            RecordBatch plain = read(pairs.get(i + 1).bytes());
            Difference.unless(packed.compressionType() == codec, () -> what + " has another codec");
            Difference.unless(Arrays.equals(list(packed), list(plain)), () -> what + " changes with its codec");
            Difference.unless(head(packed).equals(head(plain)), () -> what + " changes its header with its codec");
            byte[] again = rebuild(plain);
            byte[] ours = pairs.get(i + 1).bytes();
            Difference.unless(Arrays.equals(again, ours), () -> what + " is built otherwise by Kafka");
        }
    }

    private static byte[] build(Random random, CompressionType codec) {
        boolean hasProducer = random.nextBoolean();
        boolean isLogAppendTime = random.nextInt(4) == 0;
        MemoryRecordsBuilder builder = MemoryRecords.builder(
                ByteBuffer.allocate(1024), RecordBatch.MAGIC_VALUE_V2, Compression.of(codec).build(),
                isLogAppendTime ? TimestampType.LOG_APPEND_TIME : TimestampType.CREATE_TIME,
                random.nextBoolean() ? 0 : random.nextLong() >>> 2, NOW, hasProducer ? random.nextLong() >>> 1 : -1,
                (short) (hasProducer ? random.nextInt(30000) : -1),
                hasProducer ? random.nextInt(Integer.MAX_VALUE) : -1,
                hasProducer && random.nextBoolean(), random.nextInt(1 << 30));
        for (int left = 1 + random.nextInt(20); left > 0; left--) {
            long timestamp = NOW + (random.nextLong() >> 24);
            builder.append(timestamp, bytesOrNull(random), bytesOrNull(random), headers(random));
        }
        return bytes(builder.build().buffer());
    }

    private static byte[] rebuild(RecordBatch batch) {
        MemoryRecordsBuilder builder = MemoryRecords.builder(
                ByteBuffer.allocate(1024), RecordBatch.MAGIC_VALUE_V2, Compression.NONE, TimestampType.CREATE_TIME,
                batch.baseOffset(), -1, batch.producerId(), batch.producerEpoch(), batch.baseSequence(),
                batch.isTransactional(), batch.partitionLeaderEpoch());
        for (Record record : batch) {
            builder.append(record.timestamp(), record.key(), record.value(), record.headers());
        }
        return bytes(builder.build().buffer());
    }

    private static Header[] headers(Random random) {
        if (random.nextInt(3) > 0) {
            return new Header[0];
        }
        Header[] headers = new Header[1 + random.nextInt(4)];
        for (int i = 0; i < headers.length; i++) {
            String name = random.nextBoolean() ? "twice" : "é" + random.nextInt();
            headers[i] = new RecordHeader(name, bytesOrNull(random));
        }
        return headers;
    }

    private static byte[] bytesOrNull(Random random) {
        int choice = random.nextInt(6);
        if (choice == 0) {
            return null;
        }
        byte[] bytes = new byte[choice == 1 ? 0 : choice == 2 && random.nextInt(10) == 0 ? 100_000 : random.nextInt(300)];
        if (random.nextBoolean()) {
            random.nextBytes(bytes);
        }
        return bytes;
    }

    /** The one batch of these bytes, its checksum verified. */
    private static RecordBatch read(byte[] bytes) throws Difference {
        Iterator<MutableRecordBatch> batches =
                MemoryRecords.readableRecords(ByteBuffer.wrap(bytes)).batches().iterator();
        RecordBatch batch = batches.next();
        batch.ensureValid();
        Difference.unless(!batches.hasNext() && batch.sizeInBytes() == bytes.length, () -> "more than one batch");
        return batch;
    }

    private static String head(RecordBatch batch) {
        return batch.baseOffset() + " " + batch.lastOffset() + " " + batch.partitionLeaderEpoch() + " "
                + batch.producerId() + " " + batch.producerEpoch() + " " + batch.baseSequence() + " "
                + batch.isTransactional() + " " + batch.isControlBatch() + " " + batch.maxTimestamp() + " "
                + batch.countOrNull();
    }

    /** The records of a batch in the form in which we list them. */
    private static byte[] list(RecordBatch batch) throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream out = new DataOutputStream(bytes);
        for (Record record : batch) {
            out.writeLong(record.offset());
            out.writeLong(record.timestamp());
            writeNullable(out, record.hasKey() ? bytes(record.key()) : null);
            writeNullable(out, record.hasValue() ? bytes(record.value()) : null);
            out.writeInt(record.headers().length);
            for (Header header : record.headers()) {
                writeNullable(out, header.key().getBytes(java.nio.charset.StandardCharsets.UTF_8));
                writeNullable(out, header.value());
            }
        }
        return bytes.toByteArray();
    }

    private static void writeNullable(DataOutputStream out, byte[] bytes) throws IOException {
        out.writeInt(bytes == null ? -1 : bytes.length);
        if (bytes != null) {
            out.write(bytes);
        }
    }

    private static byte[] bytes(ByteBuffer buffer) {
        byte[] bytes = new byte[buffer.remaining()];
        buffer.duplicate().get(bytes);
        return bytes;
    }
}
