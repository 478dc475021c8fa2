import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.MessageUtil;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;

/** A message of Kafka's: its class, its versions, and how it is read and written. */
final class Kind {
    private static final String MESSAGES = "org.apache.kafka.common.message.";
    private static final String COORDINATOR = "org.apache.kafka.coordinator.group.generated.";

    final String name;
    final int first;
    final int last;
    final boolean isCoordinatorRecord;
    private final Constructor<? extends Message> constructor;
    private final Schema[] schemas;

    private Kind(String name, int first, int last, Class<? extends Message> type) throws Exception {
        this.name = name;
        this.first = first;
        this.last = last;
        isCoordinatorRecord = type.getName().startsWith(COORDINATOR);
        constructor = type.getConstructor();
        Field schemas = type.getField("SCHEMAS");
        this.schemas = (Schema[]) schemas.get(null);
    }

    /** From a line of our list: name, first version, last version. */
    static Kind of(String line) throws Exception {
        String[] words = line.split(" ");
        Class<? extends Message> type = null;
        for (String candidate : new String[] {
            MESSAGES + words[0] + "Data", MESSAGES + words[0], COORDINATOR + words[0]
        }) {
            try {
                type = Class.forName(candidate).asSubclass(Message.class);
                break;
            } catch (ClassNotFoundException e) {
                // The next one.
            }
        }
        if (type == null) {
            throw new IllegalStateException("Kafka has no " + words[0]);
        }
        return new Kind(words[0], Integer.parseInt(words[1]), Integer.parseInt(words[2]), type);
    }

    boolean isRequestOrResponse() {
        return name.endsWith("Request") || name.endsWith("Response");
    }

    Message create() throws Exception {
        return constructor.newInstance();
    }

    /**
     * Kafka's version for one of ours. The version of a coordinator's key says which record it is; Kafka has
     * a class for each, of one version, and we have one class for those of the same form.
     */
    private int kafkaVersion(int version) {
        return isCoordinatorRecord && name.endsWith("Key") ? 0 : version;
    }

    /** Whether Kafka has exactly our versions. */
    boolean hasSameVersions() throws Exception {
        Message message = create();
        return (isCoordinatorRecord && name.endsWith("Key"))
                || (message.lowestSupportedVersion() == first && message.highestSupportedVersion() == last);
    }

    Schema schema(int version) {
        return schemas[kafkaVersion(version)];
    }

    boolean isFlexible(int version) {
        BoundField[] fields = schema(version).fields();
        return fields.length > 0 && fields[fields.length - 1].def.type instanceof TaggedFields;
    }

    byte[] write(Message message, int version) {
        ByteBuffer buffer = MessageUtil.toByteBufferAccessor(message, (short) kafkaVersion(version)).buffer();
        byte[] bytes = new byte[buffer.remaining()];
        buffer.get(bytes);
        return bytes;
    }

    /** Reads a message; it must use every byte. */
    Message read(byte[] bytes, int version) throws Exception {
        Message message = create();
        ByteBuffer buffer = ByteBuffer.wrap(bytes);
        message.read(new ByteBufferAccessor(buffer), (short) kafkaVersion(version));
        if (buffer.hasRemaining()) {
            throw new IllegalStateException(buffer.remaining() + " bytes were not read");
        }
        return message;
    }
}
