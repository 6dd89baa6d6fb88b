package io.github.hookmux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnknownFieldSet;
import io.github.hookmux.Harness.HookException;
import io.github.hookmux.exhook.v3.ClientAuthenticateRequest;
import io.github.hookmux.exhook.v3.ClientConnectedRequest;
import io.github.hookmux.exhook.v3.Message;
import io.github.hookmux.exhook.v3.MessagePublishRequest;
import io.github.hookmux.exhook.v3.ValuedResponse;
import io.github.hookmux.exhook.v3.ValuedResponse.ResponsedType;
import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;

class HandlerTest {
  /** What a hook does, as a test wants it. */
  interface Hook<Q, A> {
    A run(Q request, Context context) throws Exception;
  }

  static Harness access(Hook<ClientAuthenticateRequest, Access> hook) throws Exception {
    return Harness.start(new Plugin() {
      @Override
      public Access onClientAuthenticate(ClientAuthenticateRequest r, Context c) throws Exception {
        return hook.run(r, c);
      }
    });
  }

  static Harness publish(Hook<MessagePublishRequest, Answer> hook) throws Exception {
    return Harness.start(new Plugin() {
      @Override
      public Answer onMessagePublish(MessagePublishRequest r, Context c) throws Exception {
        return hook.run(r, c);
      }
    });
  }

  static final Message MESSAGE = Message.newBuilder()
      .setTopic("a/b").setQos(1).setPayload(ByteString.copyFromUtf8("x")).putHeaders("username", "u")
      .setUnknownFields(UnknownFieldSet.newBuilder()
          .addField(99, UnknownFieldSet.Field.newBuilder().addVarint(7).build()).build())
      .build();

  private static void assertAccess(ResponsedType type, boolean result, Access answer, boolean soFar) throws Exception {
    ValuedResponse r = access((q, c) -> answer).ask(ClientAuthenticateRequest.newBuilder().setResult(soFar).build());
    assertEquals(type, r.getType());
    if (type != ResponsedType.IGNORE) {
      assertTrue(r.hasBoolResult());
      assertEquals(result, r.getBoolResult());
    }
  }

  @Test
  void accessOnTheWire() throws Exception {
    for (boolean soFar : new boolean[] {false, true}) {
      assertAccess(ResponsedType.CONTINUE, true, Plugin.allow(), soFar);
      assertAccess(ResponsedType.CONTINUE, false, Plugin.deny(), soFar);
      assertAccess(ResponsedType.IGNORE, false, Plugin.noOpinion(), soFar);
      assertAccess(ResponsedType.STOP_AND_RETURN, true, Plugin.allow().asFinal(), soFar);
      assertAccess(ResponsedType.STOP_AND_RETURN, false, Plugin.deny().asFinal(), soFar);
      assertAccess(ResponsedType.STOP_AND_RETURN, soFar, Plugin.noOpinion().asFinal(), soFar);
    }
  }

  private static ValuedResponse publish(Answer answer) throws Exception {
    return publish((q, c) -> answer).ask(MessagePublishRequest.newBuilder().setMessage(MESSAGE).build());
  }

  @Test
  void answersOnTheWire() throws Exception {
    Message dropped = MESSAGE.toBuilder().putHeaders("allow_publish", "false").build();
    Message other = MESSAGE.toBuilder().setTopic("c").build();
    assertEquals(ResponsedType.IGNORE, publish(Plugin.pass()).getType());
    assertEquals(valued(ResponsedType.CONTINUE, dropped), publish(Plugin.drop()));
    assertEquals(valued(ResponsedType.CONTINUE, other), publish(Plugin.rewrite(other)));
    assertEquals(valued(ResponsedType.STOP_AND_RETURN, MESSAGE), publish(Plugin.pass().asFinal()));
    assertEquals(valued(ResponsedType.STOP_AND_RETURN, dropped), publish(Plugin.drop().asFinal()));
    assertEquals(valued(ResponsedType.STOP_AND_RETURN, other), publish(Plugin.rewrite(other).asFinal()));
  }

  private static ValuedResponse valued(ResponsedType type, Message m) {
    return ValuedResponse.newBuilder().setType(type).setMessage(m).build();
  }

  @Test
  void whatNoBrokerCouldPublish() {
    for (Message m : new Message[] {
      null,
      Message.getDefaultInstance(),
      MESSAGE.toBuilder().setTopic("a/#").build(),
      MESSAGE.toBuilder().setTopic("a\0").build(),
      MESSAGE.toBuilder().setTopic("ä".repeat(40_000)).build(),
      MESSAGE.toBuilder().setQos(3).build(),
      MESSAGE.toBuilder().setQos(-1).build(),
    }) {
      HookException e = assertThrows(HookException.class, () -> publish(Plugin.rewrite(m)));
      assertTrue(e.getMessage().startsWith("rewrite: "), e.getMessage());
    }
  }

  private static void assertNoAnswer(String want, Hook<ClientAuthenticateRequest, Access> hook) throws Exception {
    Harness h = access(hook);
    HookException e = assertThrows(HookException.class, () -> h.ask(ClientAuthenticateRequest.getDefaultInstance()));
    assertTrue(e.getMessage().contains(want), e.getMessage());
    assertTrue(e.getMessage().length() <= 301 && !e.getMessage().contains("\n"), e.getMessage());
  }

  @Test
  void noAnswer() throws Exception {
    assertNoAnswer("return allow(), deny() or noOpinion()", (r, c) -> null);
    assertNoAnswer("java.io.IOException: the disk is gone", (r, c) -> {
      throw new IOException("the disk\n is gone");
    });
    assertNoAnswer("onClientAuthenticate threw java.lang.IllegalStateException: xx", (r, c) -> {
      throw new IllegalStateException("x".repeat(10_000));
    });
    assertNoAnswer("onClientAuthenticate threw java.lang.StackOverflowError", (r, c) -> {
      throw new StackOverflowError();
    });
  }

  @Test
  void whatItNeedsIsAway() throws Exception {
    IOException refused = new IOException("refused");
    for (UnavailableException away : new UnavailableException[] {
      new UnavailableException("no database", refused),
      new UnavailableException("no database: " + refused, refused),
      new UnavailableException(new IOException("no database", refused)),
      new UnavailableException("no database"),
      new UnavailableException((String) null),
    }) {
      String text = away.getMessage() == null ? "no reason given" : "no database";
      HookException e = assertThrows(HookException.class, () -> access((r, c) -> {
        throw away;
      }).ask(ClientAuthenticateRequest.getDefaultInstance()));
      assertTrue(e.isUnavailable() && e.getMessage().contains(text), e.getMessage());
      assertEquals(away.getCause() == refused, e.getMessage().endsWith("no database: java.io.IOException: refused"), e.getMessage());
    }
    HookException e = assertThrows(HookException.class, () -> access((r, c) -> {
      throw new io.grpc.StatusRuntimeException(io.grpc.Status.UNAVAILABLE);
    }).ask(ClientAuthenticateRequest.getDefaultInstance()));
    assertFalse(e.isUnavailable());
  }

  @Test
  void aHookItDoesNotHaveIsAnsweredToo() throws Exception {
    Harness h = access((r, c) -> Plugin.deny());
    h.tell(ClientConnectedRequest.getDefaultInstance());
    assertEquals(ResponsedType.IGNORE, h.ask(MessagePublishRequest.getDefaultInstance()).getType());
  }

  @Test
  void whatIsLeft() throws Exception {
    access((r, c) -> {
      assertTrue(c.remaining().compareTo(Duration.ofMinutes(9)) > 0 && c.remaining().compareTo(Duration.ofMinutes(10)) <= 0);
      assertFalse(c.isCancelled());
      return Plugin.allow();
    }).timeout(Duration.ofMinutes(10)).ask(ClientAuthenticateRequest.getDefaultInstance());
    access((r, c) -> {
      assertEquals(Duration.ZERO, c.remaining());
      assertTrue(c.isCancelled());
      return Plugin.allow();
    }).timeout(Duration.ZERO).ask(ClientAuthenticateRequest.getDefaultInstance());
  }

  @Test
  void onCancelRunsAtTheDeadline() throws Exception {
    access((r, c) -> {
      CountDownLatch late = new CountDownLatch(2);
      c.onCancel(late::countDown);
      assertTrue(late.getCount() > 0);
      while (!c.isCancelled()) {
        Thread.onSpinWait();
      }
      c.onCancel(late::countDown); // at once, since it is late already
      assertTrue(late.await(10, TimeUnit.SECONDS));
      return Plugin.allow();
    }).timeout(Duration.ofMillis(50)).ask(ClientAuthenticateRequest.getDefaultInstance());
  }
}
