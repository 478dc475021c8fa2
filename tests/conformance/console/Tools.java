import java.io.BufferedReader;
import java.io.ByteArrayOutputStream;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line tools one after the other, without a new virtual machine for each. A line on standard
 * input is a class and its arguments, with tabs between; what the tool prints is followed by a line {@code exit N}.
 */
public final class Tools {
    /** Thrown where a tool would end the process. */
    private static final class Ended extends RuntimeException {
        private static final long serialVersionUID = 1;

        Ended() {
            super("the tool ended", null, false, false);
        }
    }

    private static Integer status;

    private Tools() {
    }

    public static void main(String[] none) throws Exception {
        PrintStream answers = System.out;
        ByteArrayOutputStream said = new ByteArrayOutputStream();
        // For good: some tools keep the stream that they find first.
        System.setOut(new PrintStream(said, true, StandardCharsets.UTF_8));
        System.setErr(System.out);
        Exit.Procedure end = (code, message) -> {
            // A tool that catches everything, this too, may end twice; what it meant is the first.
            if (status == null) {
                status = code;
            }
            if (message != null) {
                System.out.println(message);
            }
            throw new Ended();
        };
        Exit.setExitProcedure(end);
        Exit.setHaltProcedure(end);
        BufferedReader orders = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String order = orders.readLine(); order != null; order = orders.readLine()) {
            String[] words = order.split("\t");
            status = null;
            said.reset();
            try {
                Object arguments = Arrays.copyOfRange(words, 1, words.length);
                Class.forName(words[0]).getMethod("main", String[].class).invoke(null, arguments);
            } catch (InvocationTargetException e) {
                if (!(e.getCause() instanceof Ended)) {
                    e.getCause().printStackTrace();
                    status = 1;
                }
            }
            answers.print(said.toString(StandardCharsets.UTF_8));
            answers.println("\nexit " + (status == null ? 0 : status));
            answers.flush();
        }
        System.exit(0);
    }
}
