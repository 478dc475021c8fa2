import java.util.HashMap;
import java.util.Map;

/**
 * Kafka's Java client as a conformance driver: carries records between the harness and a broker. The commands and what
 * they print are described in README.md of the parent folder.
 */
public final class Driver {
    /** A command of the driver. */
    interface Command {
        void run(Options options) throws Exception;
    }

    /** What the command line says, by name. */
    record Options(Map<String, String> values) {
        String get(String name) {
            String value = values.get(name);
            if (value == null) {
                throw new IllegalArgumentException("--" + name + " is not given");
            }
            return value;
        }

        String get(String name, String otherwise) {
            return values.getOrDefault(name, otherwise);
        }

        /** Settings that every client of Kafka's needs, as a map to add to. */
        Map<String, Object> settings() {
            Map<String, Object> settings = new HashMap<>();
            settings.put("bootstrap.servers", get("bootstrap"));
            return settings;
        }
    }

    private static final Map<String, Command> COMMANDS = Map.of(
            "create", Carry::create,
            "produce", Carry::produce,
            "consume", Carry::consume,
            "group", Group::run,
            "errors", Failures::run,
            "everyday", Everyday::run,
            "word-count", WordCount::run);

    private Driver() {
    }

    public static void main(String[] arguments) {
        try {
            Command command = arguments.length == 0 ? null : COMMANDS.get(arguments[0]);
            if (command == null) {
                throw new IllegalArgumentException("commands: " + COMMANDS.keySet());
            }
            Map<String, String> values = new HashMap<>();
            for (int i = 1; i + 1 < arguments.length; i += 2) {
                values.put(arguments[i].substring(2), arguments[i + 1]);
            }
            command.run(new Options(values));
        } catch (Throwable e) {
            System.err.println("java: Error: " + e);
            e.printStackTrace();
            System.exit(1);
        }
        // Clients that were not closed leave threads behind.
        System.exit(0);
    }

    /** Prints a line at once. */
    static synchronized void say(Object... words) {
        StringBuilder line = new StringBuilder();
        for (Object word : words) {
            if (line.length() > 0) {
                line.append(' ');
            }
            line.append(word);
        }
        System.out.println(line);
        System.out.flush();
    }
}
