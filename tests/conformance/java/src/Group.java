import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeSet;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.ConsumerRecords;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;

/** One member: says what it is assigned, reads and commits, until standard input closes. */
final class Group implements ConsumerRebalanceListener {
    private static final String RANGE = "org.apache.kafka.clients.consumer.RangeAssignor";
    private static final String COOPERATIVE = "org.apache.kafka.clients.consumer.CooperativeStickyAssignor";

    private final TreeSet<Integer> held = new TreeSet<>();

    private Group() {
    }

    static void run(Driver.Options o) {
        Thread reader = new Thread(() -> {
            try {
                System.in.transferTo(java.io.OutputStream.nullOutputStream());
            } catch (IOException e) {
                Driver.say("error", e);
            }
        });
        reader.setDaemon(true);
        reader.start();
        Map<String, Object> settings = o.settings();
        settings.put("group.id", o.get("group"));
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);
        settings.put("enable.auto.commit", false);
        settings.put("auto.offset.reset", "earliest");
        boolean cooperative = o.get("assignor", "range").equals("cooperative-sticky");
        settings.put("partition.assignment.strategy", cooperative ? COOPERATIVE : RANGE);
        if (o.values().containsKey("instance")) {
            settings.put("group.instance.id", o.get("instance"));
        }
        try (KafkaConsumer<byte[], byte[]> consumer = Carry.consumer(settings)) {
            consumer.subscribe(List.of(o.get("topic")), new Group());
            while (reader.isAlive()) {
                take(consumer, consumer.poll(Duration.ofMillis(200)));
            }
        }
    }

    private static void take(KafkaConsumer<byte[], byte[]> consumer, ConsumerRecords<byte[], byte[]> records) {
        Map<TopicPartition, OffsetAndMetadata> offsets = new HashMap<>();
        for (TopicPartition partition : records.partitions()) {
            List<ConsumerRecord<byte[], byte[]>> some = records.records(partition);
            long last = some.get(some.size() - 1).offset();
            Driver.say("records", partition.partition(), some.get(0).offset(), last);
            offsets.put(partition, new OffsetAndMetadata(last + 1));
        }
        if (offsets.isEmpty()) {
            return;
        }
        try {
            consumer.commitSync(offsets);
            offsets.forEach((partition, next) -> Driver.say("committed", partition.partition(), next.offset()));
        } catch (KafkaException e) {
            Driver.say("error commit", e);
        }
    }

    @Override
    public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> held.add(partition.partition()));
        sayHeld();
    }

    @Override
    public void onPartitionsRevoked(Collection<TopicPartition> partitions) {
        partitions.forEach(partition -> held.remove(partition.partition()));
        sayHeld();
    }

    @Override
    public void onPartitionsLost(Collection<TopicPartition> partitions) {
        onPartitionsRevoked(partitions);
    }

    private void sayHeld() {
        StringBuilder line = new StringBuilder("assigned");
        held.forEach(partition -> line.append(' ').append(partition));
        Driver.say(line);
    }
}
