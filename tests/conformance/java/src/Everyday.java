import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndTimestamp;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;

/** Carries out the orders on standard input with one admin, one producer and one consumer, until it closes. */
final class Everyday {
    private static final Duration PATIENCE = Duration.ofSeconds(20);

    private final String topic;
    private final Admin admin;
    private final KafkaProducer<byte[], byte[]> producer;
    private final KafkaConsumer<byte[], byte[]> consumer;

    private Everyday(Driver.Options o) {
        topic = o.get("topic");
        admin = Admin.create(o.settings());
        Map<String, Object> settings = o.settings();
        settings.put("max.request.size", 8 << 20);
        settings.put("max.block.ms", PATIENCE.toMillis());
        producer = Carry.producer(settings);
        settings = o.settings();
        settings.put("enable.auto.commit", false);
        settings.put("allow.auto.create.topics", false);
        settings.put("auto.offset.reset", "earliest");
        consumer = Carry.consumer(settings);
    }

    static void run(Driver.Options o) throws Exception {
        Everyday everyday = new Everyday(o);
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            try {
                everyday.obey(line.split(" "));
                Driver.say("ok");
            } catch (ExecutionException | RuntimeException e) {
                int code = Failures.code(e);
                Driver.say("error", code > 0 ? code : e.toString().replaceAll("\\s+", " "));
            }
        }
        everyday.consumer.close();
        everyday.producer.close();
        everyday.admin.close();
    }

    private void obey(String[] words) throws ExecutionException, InterruptedException {
        switch (words[0]) {
            case "create" -> {
                NewTopic made = new NewTopic(topic, Integer.parseInt(words[1]), (short) 1);
                admin.createTopics(List.of(made)).all().get();
            }
            case "delete" -> admin.deleteTopics(List.of(topic)).all().get();
            case "send" -> {
                byte[] key = words[3].getBytes(StandardCharsets.UTF_8);
                byte[] value = new byte[Integer.parseInt(words[4])];
                ProducerRecord<byte[], byte[]> record = new ProducerRecord<>(
                        topic, Integer.parseInt(words[1]), Long.parseLong(words[2]), key, value);
                Driver.say("offset", producer.send(record).get().offset());
            }
            case "offset-for" -> {
                TopicPartition partition = partition(words[1]);
                OffsetAndTimestamp found = consumer.offsetsForTimes(Map.of(partition, Long.parseLong(words[2])))
                        .get(partition);
                Driver.say("offset", found == null ? "none" : found.offset());
            }
            case "seek" -> seek(partition(words[1]), words[2]);
            case "read" -> read(Integer.parseInt(words[1]));
            default -> throw new IllegalArgumentException("no order " + words[0]);
        }
    }

    private TopicPartition partition(String number) {
        return new TopicPartition(topic, Integer.parseInt(number));
    }

    private void seek(TopicPartition partition, String place) {
        consumer.assign(List.of(partition));
        switch (place) {
            case "beginning" -> consumer.seekToBeginning(List.of(partition));
            case "end" -> consumer.seekToEnd(List.of(partition));
            default -> consumer.seek(partition, Long.parseLong(place));
        }
        Driver.say("offset", consumer.position(partition, PATIENCE));
    }

    private void read(int count) {
        long end = System.nanoTime() + PATIENCE.toNanos();
        for (int left = count; left > 0;) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("records did not come in time");
            }
            for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(200))) {
                String key = new String(record.key(), StandardCharsets.UTF_8);
                Driver.say("record", record.offset(), record.timestamp(), key, record.value().length);
                left--;
            }
        }
    }
}
