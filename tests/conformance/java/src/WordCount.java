import java.io.OutputStream;
import java.time.Duration;
import java.util.Arrays;
import java.util.Properties;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.serialization.Serdes.LongSerde;
import org.apache.kafka.common.serialization.Serdes.StringSerde;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Grouped;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;

/**
 * Counts the words of a topic with Kafka Streams until standard input closes, and says each count as it grows.
 *
 * <pre>input → words → repartition topic → counts (a store with a changelog) → output</pre>
 */
final class WordCount {
    private static final Duration CLOSE_MAX = Duration.ofSeconds(20);

    private WordCount() {
    }

    static void run(Driver.Options o) throws Exception {
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(o.get("topic"), Consumed.with(new StringSerde(), new StringSerde()))
                .flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word, Grouped.with("words", new StringSerde(), new StringSerde()))
                .count(Materialized.as("counts"))
                .toStream()
                .peek((word, count) -> Driver.say("count", word, count))
                .to(o.get("output"), Produced.with(new StringSerde(), new LongSerde()));

        Properties settings = new Properties();
        settings.putAll(o.settings());
        settings.put("application.id", o.get("group"));
        settings.put("state.dir", o.get("state"));
        settings.put("processing.guarantee", "at_least_once");
        settings.put("default.key.serde", Serdes.StringSerde.class);
        settings.put("num.stream.threads", 2);
        settings.put("commit.interval.ms", 200);
        settings.put("auto.offset.reset", "earliest");
        // A member that ended stays in its group until its session is over.
        settings.put("session.timeout.ms", 6000);
        settings.put("heartbeat.interval.ms", 500);

        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
            streams.setUncaughtExceptionHandler(error -> {
                Driver.say("error", error.toString().replaceAll("\\s+", " "));
                return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
            });
            streams.start();
            System.in.transferTo(OutputStream.nullOutputStream());
            if (!streams.close(CLOSE_MAX)) {
                throw new IllegalStateException("Streams did not close in time");
            }
        }
    }
}
