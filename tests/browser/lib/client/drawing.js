// A picture that moves, as a track.

const FRAMES_PER_S = 15;

/** Coloured bars that wander: every frame is another one. */
export function drawing() {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [640, 360];
  const context = canvas.getContext("2d");
  let turn = 0;
  const draw = () => {
    turn += 1;
    for (let bar = 0; bar < 8; bar += 1) {
      context.fillStyle = `hsl(${(turn * 7 + bar * 45) % 360} 90% 50%)`;
      context.fillRect(bar * 80, 0, 80, 360);
    }
  };
  draw();
  const [track] = canvas.captureStream(FRAMES_PER_S).getTracks();
  const timer = setInterval(() => {
    if (track.readyState === "ended") clearInterval(timer);
    else draw();
  }, 1000 / FRAMES_PER_S);
  return track;
}
