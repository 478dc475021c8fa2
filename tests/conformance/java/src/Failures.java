import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.ApiException;
import org.apache.kafka.common.errors.TimeoutException;
import org.apache.kafka.common.protocol.Errors;

/** Does what must fail and prints how it failed. */
final class Failures {
    private static final int PATIENCE_MS = 4000;

    private Failures() {
    }

    static void run(Driver.Options o) throws Exception {
        String topic = o.get("topic");
        String unknown = topic + "-unknown";
        Map<String, Object> settings = o.settings();
        settings.put("max.request.size", 8 << 20);
        settings.put("max.block.ms", PATIENCE_MS);
        try (Admin admin = Admin.create(o.settings())) {
            try (KafkaProducer<byte[], byte[]> producer = Carry.producer(settings)) {
                Driver.say("unknown-topic-produce", attempt(producer, admin, unknown, 10));
                Driver.say("too-large", attempt(producer, admin, topic, 2 << 20));
                Driver.say("after-too-large", attempt(producer, admin, topic, 10));
            }
            try (KafkaConsumer<byte[], byte[]> consumer = Carry.consumer(o.settings())) {
                consumer.endOffsets(List.of(new TopicPartition(unknown, 0)), Duration.ofMillis(PATIENCE_MS));
                Driver.say("unknown-topic-consume 0");
            } catch (TimeoutException e) {
                Driver.say("unknown-topic-consume", code(e) > 0 ? code(e) : told(admin, unknown));
            }
        }
    }

    private static int attempt(KafkaProducer<byte[], byte[]> producer, Admin admin, String topic, int size)
            throws Exception {
        try {
            producer.send(new ProducerRecord<>(topic, 0, null, new byte[size])).get();
            return 0;
        } catch (ExecutionException e) {
            return code(e) > 0 ? code(e) : told(admin, topic);
        }
    }

    /** The client waits for a topic to appear until its time is up: this is what it was told all the while. */
    private static int told(Admin admin, String topic) throws InterruptedException {
        try {
            admin.describeTopics(List.of(topic)).allTopicNames().get();
            return 0;
        } catch (ExecutionException e) {
            return code(e);
        }
    }

    /** Kafka's number of the innermost error that has one, besides "not in time"; 0 if none has. */
    static int code(Throwable error) {
        int code = 0;
        for (Throwable e = error; e != null; e = e.getCause()) {
            if (e instanceof ApiException && !(e instanceof TimeoutException)) {
                code = Errors.forException(e).code();
            }
        }
        return code;
    }
}
