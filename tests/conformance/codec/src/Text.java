import java.lang.reflect.Field;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.record.internal.MemoryRecords;

/**
 * A message as the text that Rust would show, field by field with its name: equal texts mean that both sides
 * take the bytes for the same values of the same fields. Without case and underscores.
 */
final class Text {
    private Text() {}

    static String of(String name, Message message) throws Exception {
        return struct(name, message).toLowerCase().replace("_", "");
    }

    private static String struct(String name, Object message) throws Exception {
        List<String> fields = new ArrayList<>();
        for (Field field : Values.fields(message.getClass()).values()) {
            fields.add(field.getName() + ": " + value(field.get(message)));
        }
        return fields.isEmpty() ? name : name + " { " + String.join(", ", fields) + " }";
    }

    private static String value(Object value) throws Exception {
        if (value == null) {
            return "None";
        } else if (value instanceof String text) {
            return '"' + text + '"';
        } else if (value instanceof byte[] bytes) {
            return bytes(ByteBuffer.wrap(bytes));
        } else if (value instanceof ByteBuffer buffer) {
            return bytes(buffer.duplicate());
        } else if (value instanceof Uuid uuid) {
            ByteBuffer buffer = ByteBuffer.allocate(16);
            buffer.putLong(uuid.getMostSignificantBits()).putLong(uuid.getLeastSignificantBits()).flip();
            return bytes(buffer);
        } else if (value instanceof MemoryRecords records) {
            return "b\"" + StandardCharsets.US_ASCII.decode(records.buffer()) + '"';
        } else if (value instanceof Collection<?> elements) {
            List<String> texts = new ArrayList<>();
            for (Object element : elements) {
                texts.add(value(element));
            }
            return "[" + String.join(", ", texts) + "]";
        } else if (value instanceof Message message) {
            return struct(message.getClass().getSimpleName(), message);
        }
        return value.toString();
    }

    private static String bytes(ByteBuffer buffer) {
        List<String> numbers = new ArrayList<>();
        while (buffer.hasRemaining()) {
            numbers.add(Integer.toString(buffer.get() & 0xff));
        }
        return "[" + String.join(", ", numbers) + "]";
    }
}
