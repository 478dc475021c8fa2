import java.lang.reflect.Constructor;
import java.lang.reflect.Field;
import java.lang.reflect.Modifier;
import java.lang.reflect.ParameterizedType;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.protocol.Message;
import org.apache.kafka.common.protocol.types.BoundField;
import org.apache.kafka.common.protocol.types.RawTaggedField;
import org.apache.kafka.common.protocol.types.Schema;
import org.apache.kafka.common.protocol.types.TaggedFields;
import org.apache.kafka.common.protocol.types.Type;
import org.apache.kafka.common.record.internal.MemoryRecords;

/** Fills Kafka's message classes with random values: only the fields that a version has. */
final class Values {
    /** What a value is made of. The first values of each message-version take these in turn. */
    enum Mode { DEFAULT, NULLS, EMPTY, LONG, LOWEST, HIGHEST, NO_NULLS, RANDOM, LETTERS }

    private static final long[] EDGES = {
        0, 1, -1, -2, Byte.MIN_VALUE, Byte.MAX_VALUE, Short.MIN_VALUE, Short.MAX_VALUE,
        Integer.MIN_VALUE, Integer.MAX_VALUE, Long.MIN_VALUE, Long.MAX_VALUE,
    };
    private static final int LONG_BYTES = 20_000;
    private static final String[] LETTERS = {"a", "Z", "0", "-", "\0", "\"", "é", "ß", "中", "\ufffd", "😀"};
    /** No message file has so high a tag. */
    private static final int UNKNOWN_TAG = 1000;

    private static final Map<Class<?>, Map<String, Field>> FIELDS = new HashMap<>();

    private final Random random;
    private Mode mode;
    private int longLeft;

    Values(long seed) {
        random = new Random(seed);
    }

    /** The value number `index` of a message in a version. */
    Message value(Kind kind, int version, int index) throws Exception {
        boolean isSpecial = index < Mode.RANDOM.ordinal();
        Mode chosen = isSpecial ? Mode.values()[index] : random.nextInt(20) == 0 ? Mode.LONG : Mode.RANDOM;
        return value(kind, version, chosen);
    }

    Message value(Kind kind, int version, Mode mode) throws Exception {
        this.mode = mode;
        longLeft = 3;
        Message message = kind.create();
        fill(message, kind.schema(version));
        return message;
    }

    /** Adds unknown tagged fields to a message and to what this version writes of it. */
    void addUnknownTags(Object object, Type type) throws Exception {
        if (object instanceof Collection<?> elements) {
            for (Object element : elements) {
                addUnknownTags(element, type.arrayElementType().orElseThrow());
            }
        } else if (object instanceof Message message) {
            int tag = UNKNOWN_TAG;
            for (int left = new int[] {0, 0, 1, 1, 3, 64}[random.nextInt(6)]; left > 0; left--) {
                tag += 1 + random.nextInt(200);
                message.unknownTaggedFields().add(new RawTaggedField(tag, bytes(random.nextInt(20))));
            }
            for (BoundField bound : ((Schema) type).fields()) {
                if (bound.def.type instanceof TaggedFields tagged) {
                    for (var field : tagged.fields().values()) {
                        addUnknownTags(field(message, field.name).get(message), field.type);
                    }
                } else {
                    addUnknownTags(field(message, bound.def.name).get(message), bound.def.type);
                }
            }
        }
    }

    private static Field field(Object message, String name) {
        Field field = fields(message.getClass()).get(name.replace("_", ""));
        if (field == null) {
            throw new IllegalStateException(message.getClass() + " has no field " + name);
        }
        return field;
    }

    /** The fields of a message class in the order of the file, by name without case and underscores. */
    static Map<String, Field> fields(Class<?> type) {
        return FIELDS.computeIfAbsent(type, Values::findFields);
    }

    private static Map<String, Field> findFields(Class<?> type) {
        Map<String, Field> found = new java.util.LinkedHashMap<>();
        boolean isElement = List.of(type.getInterfaces()).toString().contains("ImplicitLinkedHash");
        for (Field field : type.getDeclaredFields()) {
            boolean isLink = isElement && (field.getName().equals("next") || field.getName().equals("prev"));
            if (!Modifier.isStatic(field.getModifiers()) && !field.getName().startsWith("_") && !isLink) {
                field.setAccessible(true);
                found.put(field.getName().toLowerCase(), field);
            }
        }
        return found;
    }

    private void fill(Object message, Schema schema) throws Exception {
        if (mode == Mode.DEFAULT) {
            return;
        }
        for (BoundField bound : schema.fields()) {
            if (bound.def.type instanceof TaggedFields tagged) {
                for (var field : tagged.fields().values()) {
                    if (mode != Mode.RANDOM || random.nextInt(4) != 0) {
                        set(message, field.name, field.type);
                    }
                }
            } else {
                set(message, bound.def.name, bound.def.type);
            }
        }
    }

    private void set(Object message, String name, Type type) throws Exception {
        Field field = field(message, name);
        field.set(message, isNull(type) ? null : value(type, field));
    }

    private boolean isNull(Type type) {
        if (!type.isNullable()) {
            return false;
        }
        return switch (mode) {
            case NULLS -> true;
            case RANDOM, LETTERS -> random.nextInt(4) == 0;
            default -> false;
        };
    }

    private Object value(Type type, Field field) throws Exception {
        if (!type.isArray()) {
            return value(type, field.getType());
        }
        Type elementType = type.arrayElementType().orElseThrow();
        int count = switch (mode) {
            case EMPTY -> 0;
            case RANDOM -> random.nextInt(4);
            case LETTERS -> random.nextInt(3);
            default -> 1;
        };
        boolean isList = field.getGenericType() instanceof ParameterizedType;
        ParameterizedType generic = (ParameterizedType)
                (isList ? field.getGenericType() : field.getType().getGenericSuperclass());
        Class<?> elementClass = (Class<?>) generic.getActualTypeArguments()[0];
        @SuppressWarnings("unchecked")
        Collection<Object> elements = isList ? new ArrayList<>() : (Collection<Object>) create(field.getType());
        for (int i = 0; i < count; i++) {
            if (!elements.add(value(elementType, elementClass))) {
                throw new IllegalStateException(field + " did not take an element");
            }
        }
        return elements;
    }

    private static Object create(Class<?> type) throws Exception {
        Constructor<?> constructor = type.getDeclaredConstructor();
        constructor.setAccessible(true);
        return constructor.newInstance();
    }

    private Object value(Type type, Class<?> target) throws Exception {
        if (type instanceof Schema schema) {
            Object message = create(target);
            fill(message, schema);
            return message;
        }
        if (type == Type.BOOLEAN) {
            return (number() & 1) != 0;
        } else if (type == Type.INT8) {
            return (byte) number();
        } else if (type == Type.INT16) {
            return (short) number();
        } else if (type == Type.UINT16) {
            return (int) number() & 0xffff;
        } else if (type == Type.INT32) {
            return (int) number();
        } else if (type == Type.INT64) {
            return number();
        } else if (type == Type.FLOAT64) {
            return (double) number() + (mode == Mode.LETTERS ? 0.5 : 0);
        } else if (type == Type.UUID) {
            return new Uuid(number(), number());
        } else if (target == String.class) {
            return text(length());
        } else if (target == byte[].class) {
            return bytes(length());
        } else if (target == ByteBuffer.class) {
            return ByteBuffer.wrap(bytes(length()));
        } else if (target.getSimpleName().equals("BaseRecords")) {
            return MemoryRecords.readableRecords(ByteBuffer.wrap(bytes(length())));
        }
        throw new IllegalStateException("no values for " + type + " in " + target);
    }

    private long number() {
        return switch (mode) {
            case LOWEST -> Long.MIN_VALUE >> (random.nextInt(4) == 0 ? 0 : 32 + 8 * random.nextInt(4));
            case HIGHEST -> -1;
            case LETTERS -> random.nextInt(200) - 100;
            default -> switch (random.nextInt(3)) {
                case 0 -> EDGES[random.nextInt(EDGES.length)];
                case 1 -> random.nextInt(100);
                default -> random.nextLong();
            };
        };
    }

    private int length() {
        if (mode == Mode.EMPTY) {
            return 0;
        }
        if (mode == Mode.LONG && longLeft > 0) {
            longLeft--;
            return LONG_BYTES;
        }
        return new int[] {0, 1, 5, 20, 126, 127}[random.nextInt(6)];
    }

    /** So many bytes of text, or up to three more. */
    private String text(int length) {
        if (mode == Mode.LETTERS) {
            return new String(bytes(length), java.nio.charset.StandardCharsets.US_ASCII);
        }
        StringBuilder text = new StringBuilder();
        for (int written = 0; written < length; ) {
            String letter = LETTERS[random.nextInt(LETTERS.length)];
            text.append(letter);
            written += letter.getBytes(java.nio.charset.StandardCharsets.UTF_8).length;
        }
        return text.toString();
    }

    private byte[] bytes(int length) {
        byte[] bytes = new byte[length];
        random.nextBytes(bytes);
        for (int i = 0; mode == Mode.LETTERS && i < length; i++) {
            bytes[i] = (byte) ('a' + (bytes[i] & 0xff) % 26);
        }
        return bytes;
    }
}
