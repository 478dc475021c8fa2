import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.BufferedInputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/** The program with our codec, asked over its standard input and output. */
final class Peer implements AutoCloseable {
    /** One part of an answer: bytes, or why there are none. */
    record Item(byte[] bytes, String refusal) {
        boolean isRefused() {
            return refusal != null;
        }

        String text() {
            return new String(bytes, StandardCharsets.UTF_8);
        }
    }

    private final Process process;
    private final DataInputStream answers;
    private final DataOutputStream questions;

    Peer(String binary, String schemaFolder) throws IOException {
        process = new ProcessBuilder(binary, schemaFolder)
                .redirectError(ProcessBuilder.Redirect.INHERIT)
                .start();
        answers = new DataInputStream(new BufferedInputStream(process.getInputStream(), 1 << 16));
        questions = new DataOutputStream(new BufferedOutputStream(process.getOutputStream(), 1 << 16));
    }

    /** A question about some bodies. */
    List<Item> ask(char kind, String name, int version, int other, List<byte[]> bodies) throws IOException {
        return send(kind, name, version, other, 0, bodies.size(), bodies);
    }

    /** A question for so many values made from a seed. */
    List<Item> askFor(char kind, String name, int version, long seed, int count) throws IOException {
        return send(kind, name, version, 0, seed, count, List.of());
    }

    private List<Item> send(char kind, String name, int version, int other, long seed, int count, List<byte[]> bodies)
            throws IOException {
        ByteArrayOutputStream bytes = new ByteArrayOutputStream();
        DataOutputStream frame = new DataOutputStream(bytes);
        frame.writeByte(kind);
        frame.writeUTF(name);
        frame.writeShort(version);
        frame.writeShort(other);
        frame.writeLong(seed);
        frame.writeInt(count);
        for (byte[] body : bodies) {
            frame.writeInt(body.length);
            frame.write(body);
        }
        questions.writeInt(bytes.size());
        bytes.writeTo(questions);
        questions.flush();
        return receive();
    }

    private List<Item> receive() throws IOException {
        answers.readInt();
        int count = answers.readInt();
        List<Item> items = new ArrayList<>(count);
        for (int i = 0; i < count; i++) {
            boolean isRefused = answers.readByte() != 0;
            byte[] bytes = answers.readNBytes(answers.readInt());
            items.add(isRefused
                    ? new Item(null, new String(bytes, StandardCharsets.UTF_8))
                    : new Item(bytes, null));
        }
        return items;
    }

    @Override
    public void close() throws Exception {
        questions.close();
        int code = process.waitFor();
        if (code != 0) {
            throw new IOException("the peer ended with " + code);
        }
    }
}
