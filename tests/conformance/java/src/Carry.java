import java.io.IOException;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/** Makes a topic, writes records to it, reads it from beginning to end. */
final class Carry {
    private Carry() {
    }

    static void create(Driver.Options o) throws Exception {
        try (Admin admin = Admin.create(o.settings())) {
            NewTopic topic = new NewTopic(o.get("topic"), Integer.parseInt(o.get("partitions")), (short) 1);
            admin.createTopics(List.of(topic)).all().get();
        }
    }

    static KafkaProducer<byte[], byte[]> producer(Map<String, Object> settings) {
        return new KafkaProducer<>(settings, new ByteArraySerializer(), new ByteArraySerializer());
    }

    static KafkaConsumer<byte[], byte[]> consumer(Map<String, Object> settings) {
        return new KafkaConsumer<>(settings, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    static void produce(Driver.Options o) throws Exception {
        Map<String, Object> settings = o.settings();
        settings.put("compression.type", o.get("compression", "none"));
        settings.put("batch.size", 128 * 1024);
        settings.put("linger.ms", 5);
        Map<Integer, long[]> acks = new TreeMap<>();
        AtomicReference<Exception> failed = new AtomicReference<>();
        try (KafkaProducer<byte[], byte[]> producer = producer(settings)) {
            Frames.Reader in = new Frames.Reader(System.in, o.get("topic"));
            for (ProducerRecord<byte[], byte[]> record = in.next(); record != null; record = in.next()) {
                // Only the producer's one thread calls back.
                producer.send(record, (where, error) -> {
                    if (error != null) {
                        failed.set(error);
                        return;
                    }
                    long[] range = acks.computeIfAbsent(
                            where.partition(), p -> new long[] {0, where.offset(), where.offset()});
                    range[0]++;
                    range[1] = Math.min(range[1], where.offset());
                    range[2] = Math.max(range[2], where.offset());
                });
            }
            producer.flush();
        }
        if (failed.get() != null) {
            throw failed.get();
        }
        acks.forEach((partition, r) -> Driver.say("acked", partition, r[0], r[1], r[2]));
    }

    static void consume(Driver.Options o) throws IOException {
        Map<String, Object> settings = o.settings();
        settings.put("auto.offset.reset", "none");
        settings.put("enable.auto.commit", false);
        Frames.Writer out = new Frames.Writer(System.out);
        try (KafkaConsumer<byte[], byte[]> consumer = consumer(settings)) {
            List<TopicPartition> all = consumer.partitionsFor(o.get("topic")).stream()
                    .map(info -> new TopicPartition(info.topic(), info.partition()))
                    .toList();
            Map<TopicPartition, Long> left = consumer.endOffsets(all);
            left.values().removeIf(end -> end == 0);
            consumer.assign(left.keySet());
            left.keySet().forEach(partition -> consumer.seek(partition, 0));
            while (!left.isEmpty()) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(500))) {
                    out.write(record);
                    TopicPartition partition = new TopicPartition(record.topic(), record.partition());
                    left.computeIfPresent(partition, (p, end) -> record.offset() + 1 >= end ? null : end);
                }
            }
        }
        out.flush();
    }
}
