/**
 * The page: a photo, or the camera's frames, go to the server that the page came from; its answers are drawn onto the
 * picture and said in words. Read it from the top: what comes in, how it is asked about, what is shown.
 */

/** In the order of the server's answers, of the run's report and of the data. */
const EXPRESSIONS = ['anger', 'disgust', 'sad', 'happiness', 'surprise'];
/** Of the timeline's curves: lengths of dashes and gaps. @type {Record<string, number[]>} */
const DASHES = { anger: [11, 3], disgust: [5, 3], sad: [2, 2], happiness: [], surprise: [9, 3, 2, 3] };

const LARGEST_BODY = 16 * 2 ** 20; // bytes that the server takes
const LARGEST_PIXELS = 25_000_000; // that the server takes, width times height
const LONGEST_SIDE = 4096; // pixels of a photo that had to be scaled down
const FRAME_WIDTH = 640; // pixels
const FRAME_PERIOD = 100; // milliseconds from one frame to the next, at the least
const RETRY_PERIOD = 2000; // milliseconds
const PATIENCE = 60_000; // milliseconds until an answer is given up
const SPOKEN_PERIOD = 4000; // milliseconds from one spoken answer to the next while the camera runs
const SHOWN_PERIOD = 60_000; // milliseconds of the timeline
const GAP = 1500; // milliseconds without an answer that break the timeline's lines

/**
 * @typedef {object} Picture what is asked about
 * @property {Blob} blob the bytes that are sent
 * @property {string} name of the file, in the command line
 * @property {boolean} onDisk whether such a file lies on this machine
 * @property {boolean} mirrored whether it is shown as in a mirror
 *
 * @typedef {object} Face
 * @property {{left: number, top: number, width: number, height: number}} box in pixels of the upright picture
 * @property {string} expression the most probable one
 * @property {Record<string, number>} probabilities by expression, 0..1
 * @property {Record<string, [number, number]>} keypoints by name, in pixels of the upright picture
 *
 * @typedef {object} Answer
 * @property {{width: number, height: number}} image upright
 * @property {Face[]} faces the largest first
 * @property {{name: string, version: number}} model
 * @property {number} milliseconds that the server took
 * @property {number} roundTrip milliseconds from question to answer, as seen from here
 *
 * @typedef {object} Sample one answer of the timeline
 * @property {number} time milliseconds
 * @property {Record<string, number> | null} probabilities of the largest face, where there was one
 *
 * @typedef {{left: number, top: number, width: number, height: number}} Rectangle in pixels of the page
 */

/** What went wrong, as one sentence for people; `passing` where asking again may help. */
class Failure extends Error {
  /** @param {string} sentence @param {boolean} passing */
  constructor(sentence, passing = false) {
    super(sentence);
    this.passing = passing;
  }
}

/** @param {string} id @returns {any} */
const element = (id) => document.getElementById(id);

/** @type {Picture | null} */
let picture = null;
/** @type {Answer | null} */
let answer = null;
/** @type {Sample[]} */
let samples = [];
let watching = false; // whether the camera is on, or about to be
let activity = new AbortController(); // the question or the camera that is under way
let timelineDrawn = -Infinity;
let spoken = { text: '', time: 0 };

/* What comes in. */

function listen() {
  element('file').addEventListener('change', takeChosen);
  element('hint').addEventListener('click', () => element('file').click());
  element('camera').addEventListener('click', () => (watching ? switchOff('The camera is stopped.') : switchOn()));
  element('copy').addEventListener('click', copyCommand);
  element('save').addEventListener('click', savePicture);
  for (const choice of document.getElementsByName('faces')) choice.addEventListener('change', takeChoice);
  addEventListener('paste', (event) => takeFiles(event.clipboardData?.files, false));
  addEventListener('dragover', takeHover);
  addEventListener('dragleave', endHover);
  addEventListener('drop', takeDropped);
  document.addEventListener('visibilitychange', () => {
    if (document.hidden && watching) switchOff('The camera was stopped because this page was hidden.');
  });
  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', draw);
  new ResizeObserver(draw).observe(element('stage'));
  watchDensity();
}

/** Draws anew when the page is enlarged, or moved to a screen of another density. */
function watchDensity() {
  const changed = () => {
    draw();
    watchDensity();
  };
  matchMedia(`(resolution: ${devicePixelRatio}dppx)`).addEventListener('change', changed, { once: true });
}

function takeChosen() {
  takeFiles(element('file').files, true);
  element('file').value = ''; // so that the same file can be chosen again
}

/** @param {DragEvent} event */
function takeHover(event) {
  event.preventDefault();
  element('stage').classList.add('dropping');
}

/** @param {DragEvent} event */
function endHover(event) {
  if (!event.relatedTarget) element('stage').classList.remove('dropping');
}

/** @param {DragEvent} event */
function takeDropped(event) {
  event.preventDefault();
  element('stage').classList.remove('dropping');
  if (!event.dataTransfer?.files.length) note('That was no file: drop a photo from a folder of this machine.');
  takeFiles(event.dataTransfer?.files, true);
}

/** @param {FileList | undefined} files @param {boolean} onDisk */
function takeFiles(files, onDisk) {
  if (!files?.length) return;
  lookAt(files[0], onDisk, files.length > 1 ? `${files.length} files came; this is the first.` : '');
}

function takeChoice() {
  element('every').hidden = chosenFaces() !== 'all';
  draw();
  if (picture && !watching) askAbout(picture, begin());
}

const chosenFaces = () => /** @type {HTMLInputElement} */ (document.querySelector('[name=faces]:checked')).value;

/** Ends what is under way; the signal tells when the new activity is to end in its turn. */
function begin() {
  activity.abort();
  activity = new AbortController();
  return activity.signal;
}

/* A photo. */

/** @param {File} file @param {boolean} onDisk @param {string} remark */
async function lookAt(file, onDisk, remark) {
  const signal = begin();
  setWatching(false);
  picture = answer = null;
  announce('Asking the server…');
  draw();
  try {
    const fitting = await fit({ blob: file, name: file.name, onDisk, mirrored: false });
    if (signal.aborted) return;
    picture = fitting;
    const isShown = await showPhoto(picture);
    if (signal.aborted) return;
    const cannotShow = isShown ? '' : `This browser cannot show ${file.name}; the server was asked all the same.`;
    note([remark, remarkOnSize(file, picture), cannotShow].filter(Boolean).join(' '));
    await askAbout(picture, signal);
  } catch (error) {
    if (signal.aborted) return;
    emptyStage();
    fail(error);
  }
}

/**
 * A picture that the server takes: the file's own bytes, or where it is too large, a smaller JPEG.
 * @param {Picture} original
 * @returns {Promise<Picture>}
 */
async function fit(original) {
  const { blob, name } = original;
  if (blob.size > LARGEST_BODY || (await countPixels(blob)) > LARGEST_PIXELS) {
    return { ...original, blob: await scaleDown(blob, name), name: smallName(name), onDisk: false };
  }
  try {
    return { ...original, blob: new Blob([await blob.arrayBuffer()]) };
  } catch {
    throw new Failure(`${name} cannot be read: choose a file, not a folder, that is still there.`);
  }
}

/** @param {Blob} blob @returns {Promise<number>} 0 where the browser cannot read the picture */
function countPixels(blob) {
  const probe = new Image();
  probe.src = URL.createObjectURL(blob);
  return new Promise((resolve) => {
    probe.onload = () => resolve(probe.naturalWidth * probe.naturalHeight);
    probe.onerror = () => resolve(0);
  }).finally(() => URL.revokeObjectURL(probe.src));
}

/** @param {Blob} blob @param {string} name @returns {Promise<Blob>} */
async function scaleDown(blob, name) {
  const bitmap = await createImageBitmap(blob).catch(() => {
    throw new Failure(`${name} is larger than the server takes, and this browser cannot make it smaller.`);
  });
  let scale = Math.min(1, LONGEST_SIDE / Math.max(bitmap.width, bitmap.height));
  let smaller = await toJpeg(bitmap, bitmap.width, bitmap.height, scale);
  while (smaller.size > LARGEST_BODY) {
    scale *= 0.75;
    smaller = await toJpeg(bitmap, bitmap.width, bitmap.height, scale);
  }
  bitmap.close();
  return smaller;
}

/**
 * @param {ImageBitmap | HTMLVideoElement} source @param {number} width @param {number} height of the source
 * @param {number} scale
 * @returns {Promise<Blob>}
 */
function toJpeg(source, width, height, scale) {
  const canvas = document.createElement('canvas');
  canvas.width = Math.max(1, Math.round(scale * width));
  canvas.height = Math.max(1, Math.round(scale * height));
  canvas.getContext('2d')?.drawImage(source, 0, 0, canvas.width, canvas.height);
  return new Promise((resolve, reject) => {
    const done = (/** @type {Blob | null} */ blob) =>
      blob ? resolve(blob) : reject(new Failure('This browser could not encode the picture.'));
    canvas.toBlob(done, 'image/jpeg', 0.9);
  });
}

/** @param {string} name */
const smallName = (name) => `${name.replace(/\.[^.]*$/, '')}-small.jpg`;

/** @param {File} file @param {Picture} sent */
function remarkOnSize(file, sent) {
  if (sent.name === file.name) return '';
  const copy = `a smaller copy of ${mebibytes(sent.blob)} was sent.`;
  return `The photo of ${mebibytes(file)} is larger than the server takes: ${copy}`;
}

/** @param {Blob} blob */
const mebibytes = (blob) => `${(blob.size / 2 ** 20).toFixed(1)} MiB`;

/** @param {Picture} shown @returns {Promise<boolean>} whether the browser can show it */
async function showPhoto(shown) {
  const photo = element('photo');
  const address = URL.createObjectURL(shown.blob);
  URL.revokeObjectURL(photo.src);
  photo.src = address;
  photo.alt = `Picture ${shown.name}`;
  fillStage(photo, shown.mirrored);
  const isShown = await photo.decode().then(
    () => true,
    () => false,
  );
  if (photo.src === address) photo.hidden = !isShown;
  return isShown;
}

/** @param {HTMLElement} visible the photo or the video @param {boolean} mirrored */
function fillStage(visible, mirrored) {
  for (const one of [element('photo'), element('video')]) one.hidden = one !== visible;
  element('hint').hidden = true;
  element('stage').classList.add('filled');
  element('stage').classList.toggle('mirrored', mirrored);
}

function emptyStage() {
  for (const one of [element('photo'), element('video')]) one.hidden = true;
  element('hint').hidden = false;
  element('stage').classList.remove('filled');
}

/* The camera. */

async function switchOn() {
  const signal = begin();
  setWatching(true);
  note('');
  announce('Waiting for the camera…');
  try {
    const stream = await openCamera();
    if (signal.aborted) return closeCamera(stream);
    signal.addEventListener('abort', () => closeCamera(stream));
    stream.getVideoTracks()[0].addEventListener('ended', () => switchOff('The camera was taken away.'));
    await showCamera(stream);
    await watch(signal, isMirrored(stream));
  } catch (error) {
    if (signal.aborted) return;
    setWatching(false);
    begin();
    fail(error);
  }
}

/** Stops the camera and keeps its last frame as the picture. @param {string} reason */
async function switchOff(reason) {
  begin();
  setWatching(false);
  announce(answer ? inWords(answer.faces) : reason);
  note(reason);
  say(reason);
  if (picture) await showPhoto(picture);
  draw();
}

/** @param {boolean} on */
function setWatching(on) {
  watching = on;
  element('camera').textContent = on ? 'Stop the camera' : 'Start the camera';
}

/** @returns {Promise<MediaStream>} */
async function openCamera() {
  if (!navigator.mediaDevices) throw new Failure('A browser lends its camera only over https, or on localhost.');
  try {
    return await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 1280 }, facingMode: 'user' } });
  } catch (error) {
    throw new Failure(cameraFailure(/** @type {Error} */ (error).name));
  }
}

/** @param {string} name of the browser's error */
function cameraFailure(name) {
  if (name === 'NotAllowedError')
    return 'The camera was not allowed: the browser’s settings for this page can allow it.';
  if (name === 'NotFoundError') return 'No camera was found on this machine.';
  return 'The camera cannot be used: another program may have it.';
}

/** @param {MediaStream} stream */
function closeCamera(stream) {
  for (const track of stream.getTracks()) track.stop();
  if (element('video').srcObject === stream) element('video').srcObject = null;
}

/** @param {MediaStream} stream */
async function showCamera(stream) {
  samples = [];
  picture = answer = null;
  fillStage(element('video'), isMirrored(stream));
  element('video').srcObject = stream;
  await element('video').play();
}

/** People know themselves from the mirror; a camera that looks away from them shows the world as it is. */
const isMirrored = (/** @type {MediaStream} */ stream) =>
  stream.getVideoTracks()[0].getSettings().facingMode !== 'environment';

/**
 * Asks about one frame after the other, never about two at a time.
 * @param {AbortSignal} signal @param {boolean} mirrored
 */
async function watch(signal, mirrored) {
  const video = element('video');
  while (!signal.aborted) {
    const begun = performance.now();
    const scale = Math.min(1, FRAME_WIDTH / video.videoWidth);
    const blob = await toJpeg(video, video.videoWidth, video.videoHeight, scale);
    if (signal.aborted) return;
    const isAnswered = await askOnce({ blob, name: 'frame.jpg', onDisk: false, mirrored }, signal);
    await pause(isAnswered ? FRAME_PERIOD - (performance.now() - begun) : RETRY_PERIOD, signal);
  }
}

/* The question. */

/** Asks about a picture, and again while the server is away. @param {Picture} asked @param {AbortSignal} signal */
async function askAbout(asked, signal) {
  while (!signal.aborted && !(await askOnce(asked, signal))) await pause(RETRY_PERIOD, signal);
}

/**
 * Asks once and shows what came of it.
 * @param {Picture} asked @param {AbortSignal} signal
 * @returns {Promise<boolean>} whether there is nothing to be gained from asking again
 */
async function askOnce(asked, signal) {
  const faces = chosenFaces();
  const outcome = await ask(asked.blob, faces, signal).catch((error) => error);
  if (signal.aborted) return true;
  picture = asked;
  showCommand(asked, faces);
  if (outcome instanceof Error) fail(outcome);
  else succeed(outcome);
  return !(outcome instanceof Failure && outcome.passing);
}

/** @param {Blob} blob @param {string} faces @param {AbortSignal} signal @returns {Promise<Answer>} */
async function ask(blob, faces, signal) {
  const begun = performance.now();
  const response = await fetch(photoAddress(faces), {
    method: 'POST',
    headers: { 'Content-Type': 'application/octet-stream' },
    body: blob,
    signal: AbortSignal.any([signal, AbortSignal.timeout(PATIENCE)]),
  }).catch(() => {
    throw new Failure('The server does not answer. The page asks again until it does.', true);
  });
  const said = await response.json().catch(() => ({}));
  if (response.ok && said.faces) return { ...said, roundTrip: performance.now() - begun };
  throw new Failure(
    said.error ?? `The server answered ${response.status} without saying why.`,
    response.status >= 502 && response.status <= 504,
  );
}

/** @param {string} faces */
const photoAddress = (faces) => new URL(`v1/photo?faces=${faces}`, location.href).href;

/** @param {number} milliseconds @param {AbortSignal} signal @returns {Promise<void>} early when the signal comes */
function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(timer);
      signal.removeEventListener('abort', end);
      resolve();
    };
    const timer = setTimeout(end, Math.max(0, milliseconds));
    signal.addEventListener('abort', end);
  });
}

/* The answer in words and figures. */

/** @param {Answer} answered */
function succeed(answered) {
  answer = answered;
  if (watching) samples = remember(samples, answered);
  announce(inWords(answered.faces));
  draw();
}

/** @param {unknown} error */
function fail(error) {
  answer = null;
  if (watching) samples = remember(samples, null);
  announce(error instanceof Failure ? error.message : `The page failed: ${error}`, true);
  draw();
}

/** Puts a sentence where the answer stands, and has it spoken. @param {string} text @param {boolean} failed */
function announce(text, failed = false) {
  element('result').textContent = text;
  element('result').classList.toggle('failed', failed);
  // A camera's figures change with every frame; spoken are its changes of expression, one at a time.
  const sense = watching ? text.replace(/ \d+%/g, '') : text;
  if (watching && (sense === spoken.text || (!failed && performance.now() - spoken.time < SPOKEN_PERIOD))) return;
  spoken = { text: sense, time: performance.now() };
  say(text);
}

/** @param {string} text */
function say(text) {
  element('status').textContent = text;
}

/** @param {string} text */
function note(text) {
  element('note').textContent = text;
}

/** @param {Face[]} faces */
function inWords(faces) {
  const verdicts = faces.map((face) => `${face.expression} ${percent(face.probabilities[face.expression])}`);
  if (faces.length === 0) return 'No face found';
  if (faces.length === 1) return `One face: ${verdicts[0]}`;
  if (faces.length === 2) return `Two faces: ${verdicts.join(', ')}`;
  return `${faces.length} faces; the largest: ${verdicts[0]}`;
}

/** @param {number} share 0..1 */
const percent = (share) => `${Math.round(100 * share)}%`;

/** @param {number} milliseconds */
const duration = (milliseconds) => `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;

/** Everything that is drawn or written anew with an answer, a size or a colour scheme. */
function draw() {
  drawOverlay();
  drawTimeline();
  fillBars(answer?.faces[0]);
  fillEvery(answer?.faces ?? []);
  fillFacts();
}

/** The rows that stay, whatever is answered. */
function buildTables() {
  for (const expression of EXPRESSIONS) {
    const row = element('bars').insertRow();
    tint(row, expression);
    row.append(cell('th', [span('swatch'), expression], 'row'), cell('td', [span('bar'), span('percent', '–')]));
    element('every-names').append(cell('th', [expression], 'col'));
  }
}

/** @param {Face | undefined} face */
function fillBars(face) {
  for (const [index, expression] of EXPRESSIONS.entries()) {
    const row = element('bars').rows[index];
    row.classList.toggle('top', face?.expression === expression);
    row.style.setProperty('--share', String(face?.probabilities[expression] ?? 0));
    row.querySelector('.percent').textContent = face ? percent(face.probabilities[expression]) : '–';
  }
}

/** @param {Face[]} faces */
function fillEvery(faces) {
  element('every-faces').replaceChildren(...faces.map(everyRow));
}

/** @param {Face} face @param {number} index */
function everyRow(face, index) {
  const row = document.createElement('tr');
  row.append(cell('th', [String(index + 1)], 'row'));
  for (const expression of EXPRESSIONS) {
    const share = cell('td', [percent(face.probabilities[expression])]);
    share.classList.toggle('most', face.expression === expression);
    tint(share, expression);
    row.append(share);
  }
  return row;
}

function fillFacts() {
  const facts = {
    model: answer && `${answer.model.name}, version ${answer.model.version}`,
    milliseconds: answer && duration(answer.milliseconds),
    'round-trip': answer && duration(answer.roundTrip),
    size: answer && `${answer.image.width} × ${answer.image.height}`,
  };
  for (const [id, text] of Object.entries(facts)) element(id).textContent = text ?? '–';
}

/** @param {HTMLElement} target @param {string} expression */
function tint(target, expression) {
  target.style.setProperty('--tone', `var(--${expression})`);
}

/** @param {'th' | 'td'} tag @param {(Node | string)[]} content @param {string} scope */
function cell(tag, content, scope = '') {
  const made = document.createElement(tag);
  if (scope) made.setAttribute('scope', scope);
  made.append(...content);
  return made;
}

/** @param {string} className @param {string} text */
function span(className, text = '') {
  const made = document.createElement('span');
  made.className = className;
  made.textContent = text;
  return made;
}

/* The answer on the picture. */

function drawOverlay() {
  const { pen, width, height } = prepare(element('overlay'));
  if (!answer || !picture) return;
  const place = placement(answer.image, width, height, picture.mirrored);
  const boxes = answer.faces.map((face) => onStage(face.box, place));
  const stage = { left: 0, top: 0, width, height };
  for (const [index, face] of answer.faces.entries()) {
    drawBox(pen, boxes[index], color(`--${face.expression}-bright`));
    drawPoints(pen, pointsOf(face).map(place), boxes[index].width);
  }
  const points = answer.faces.flatMap((face) => pointsOf(face).map(place));
  const panels = placePanels(boxes, points, stage);
  for (const [index, face] of answer.faces.entries()) {
    const number = boxes.length > 1 ? `${index + 1}` : '';
    if (panels) drawPanel(pen, face, number, panels[index]);
    else drawTag(pen, face, number, boxes[index], width);
  }
}

/**
 * Where a point of the picture lies on a stage that shows all of it, centred.
 * @param {{width: number, height: number}} image @param {number} width @param {number} height of the stage
 * @param {boolean} mirrored
 * @returns {(point: [number, number]) => [number, number]}
 */
function placement(image, width, height, mirrored) {
  const scale = Math.min(width / image.width, height / image.height);
  const left = (width - scale * image.width) / 2;
  const top = (height - scale * image.height) / 2;
  return ([x, y]) => [left + scale * (mirrored ? image.width - x : x), top + scale * y];
}

/** @param {Face} face */
const pointsOf = (face) => Object.values(face.keypoints);

/** @param {Rectangle} box @param {(point: [number, number]) => [number, number]} place @returns {Rectangle} */
function onStage(box, place) {
  const [one, top] = place([box.left, box.top]);
  const [other, bottom] = place([box.left + box.width, box.top + box.height]);
  return { left: Math.min(one, other), top, width: Math.abs(other - one), height: bottom - top };
}

/** @param {CanvasRenderingContext2D} pen @param {Rectangle} box @param {string} tone */
function drawBox(pen, box, tone) {
  pen.beginPath();
  pen.roundRect(box.left, box.top, box.width, box.height, 8);
  stroke(pen, 'rgb(0 0 0 / 55%)', 5);
  stroke(pen, tone, 2.5);
}

/** @param {CanvasRenderingContext2D} pen @param {[number, number][]} points @param {number} width of the face */
function drawPoints(pen, points, width) {
  const radius = Math.min(4, Math.max(1.2, width / 60));
  for (const [x, y] of points) {
    pen.beginPath();
    pen.arc(x, y, radius, 0, 2 * Math.PI);
    stroke(pen, 'rgb(0 0 0 / 70%)', radius + 1.2);
    stroke(pen, color('--point'), Math.max(1, radius / 2));
  }
}

/** @param {CanvasRenderingContext2D} pen @param {string} tone @param {number} width */
function stroke(pen, tone, width) {
  pen.strokeStyle = tone;
  pen.lineWidth = width;
  pen.stroke();
}

const PANEL = { width: 156, height: 92 };

/**
 * Places for the faces' five probabilities by name; none where they would hide faces or each other.
 * @param {Rectangle[]} boxes @param {[number, number][]} points @param {Rectangle} stage
 * @returns {Rectangle[] | null}
 */
function placePanels(boxes, points, stage) {
  /** @type {Rectangle[]} */
  const panels = [];
  for (const box of boxes) {
    const free = around(box).find((place) => isFree(place, stage, [...boxes, ...panels]));
    if (free) panels.push(free);
    else return boxes.length === 1 ? leastCovering(box, points, stage) : null;
  }
  return panels;
}

/** @param {Rectangle} box @returns {Rectangle[]} */
function around(box) {
  const right = box.left + box.width + 6;
  const left = box.left - 6 - PANEL.width;
  const flush = box.left + box.width - PANEL.width;
  const low = box.top + box.height - PANEL.height;
  const below = box.top + box.height + 6;
  const above = box.top - 6 - PANEL.height;
  return [
    { ...PANEL, left: right, top: box.top },
    { ...PANEL, left, top: box.top },
    { ...PANEL, left: right, top: low },
    { ...PANEL, left, top: low },
    { ...PANEL, left: box.left, top: below },
    { ...PANEL, left: flush, top: below },
    { ...PANEL, left: box.left, top: above },
    { ...PANEL, left: flush, top: above },
  ];
}

/**
 * The corner of the stage where a panel covers least of the only face, and none of its points.
 * @param {Rectangle} box @param {[number, number][]} points @param {Rectangle} stage
 * @returns {Rectangle[] | null}
 */
function leastCovering(box, points, stage) {
  const right = stage.width - PANEL.width - 6;
  const low = stage.height - PANEL.height - 6;
  const corners = [
    [right, low],
    [6, low],
    [right, 6],
    [6, 6],
  ].map(([left, top]) => ({ ...PANEL, left, top }));
  const harmless = corners.filter((corner) => !points.some((point) => contains(corner, point)));
  harmless.sort((one, other) => overlap(one, box) - overlap(other, box));
  return harmless.length ? [harmless[0]] : null;
}

/** @param {Rectangle} place @param {[number, number]} point */
const contains = ({ left, top, width, height }, [x, y]) =>
  x > left - 4 && x < left + width + 4 && y > top - 4 && y < top + height + 4;

/** @param {Rectangle} place @param {Rectangle} stage @param {Rectangle[]} taken */
function isFree(place, stage, taken) {
  const isInside =
    place.left >= 2 &&
    place.top >= 2 &&
    place.left + place.width <= stage.width - 2 &&
    place.top + place.height <= stage.height - 2;
  return isInside && taken.every((other) => overlap(place, other) === 0);
}

/** @param {Rectangle} one @param {Rectangle} other @returns {number} the area in common */
function overlap(one, other) {
  const width = Math.min(one.left + one.width, other.left + other.width) - Math.max(one.left, other.left);
  const height = Math.min(one.top + one.height, other.top + other.height) - Math.max(one.top, other.top);
  return Math.max(0, width) * Math.max(0, height);
}

/** @param {CanvasRenderingContext2D} pen @param {Face} face @param {string} number @param {Rectangle} place */
function drawPanel(pen, face, number, place) {
  plate(pen, place);
  for (const [index, expression] of EXPRESSIONS.entries()) {
    const isTop = face.expression === expression;
    const middle = place.top + 14 + 16 * index;
    write(pen, expression, place.left + 8, middle, 'left', isTop);
    write(pen, percent(face.probabilities[expression]), place.left + place.width - 8, middle, 'right', isTop);
    pen.fillStyle = color(`--${expression}-bright`);
    pen.fillRect(place.left + 78, middle - 4, 32 * face.probabilities[expression], 8);
  }
  if (number) drawNumber(pen, number, place.left, place.top);
}

/**
 * @param {CanvasRenderingContext2D} pen @param {Face} face @param {string} number @param {Rectangle} box
 * @param {number} width of the stage
 */
function drawTag(pen, face, number, box, width) {
  pen.font = font(true);
  const verdict = `${face.expression} ${percent(face.probabilities[face.expression])}`;
  const text = number && box.width < 100 ? number : `${number} ${verdict}`.trim();
  const long = pen.measureText(text).width + 50;
  const left = Math.max(2, Math.min(box.left, width - long - 2));
  const above = box.top - 24;
  const place = { left, top: above < 2 ? Math.max(4, box.top + 4) : above, width: long, height: 20 };
  plate(pen, place);
  for (const [index, expression] of EXPRESSIONS.entries()) {
    const height = 1 + 13 * face.probabilities[expression];
    pen.fillStyle = color(`--${expression}-bright`);
    pen.fillRect(place.left + 6 + 6 * index, place.top + 17 - height, 5, height);
  }
  write(pen, text, place.left + 42, place.top + 10.5, 'left', true);
}

/** @param {CanvasRenderingContext2D} pen @param {string} number @param {number} x @param {number} y */
function drawNumber(pen, number, x, y) {
  pen.beginPath();
  pen.roundRect(x - 8, y - 8, 20, 16, 8);
  pen.fillStyle = '#fff';
  pen.fill();
  pen.font = font(true);
  pen.textAlign = 'center';
  pen.textBaseline = 'middle';
  pen.fillStyle = '#0b0e13';
  pen.fillText(number, x + 2, y + 0.5);
}

/** @param {CanvasRenderingContext2D} pen @param {Rectangle} place */
function plate(pen, place) {
  pen.beginPath();
  pen.roundRect(place.left, place.top, place.width, place.height, 7);
  pen.fillStyle = 'rgb(11 14 19 / 86%)';
  pen.fill();
}

/**
 * @param {CanvasRenderingContext2D} pen @param {string} text @param {number} x @param {number} y the middle
 * @param {CanvasTextAlign} align @param {boolean} bold
 */
function write(pen, text, x, y, align, bold) {
  pen.font = font(bold);
  pen.textAlign = align;
  pen.textBaseline = 'middle';
  pen.fillStyle = bold ? '#ffffff' : '#d5dbe5';
  pen.fillText(text, x, y);
}

/** @param {boolean} bold */
const font = (bold) => `${bold ? 650 : 450} 11.5px ${getComputedStyle(document.body).fontFamily}`;

/* The timeline. */

/** @param {Sample[]} past @param {Answer | null} answered @returns {Sample[]} those of the last minute */
function remember(past, answered) {
  const time = performance.now();
  const sample = { time, probabilities: answered?.faces[0]?.probabilities ?? null };
  return [...past.filter((old) => time - old.time <= SHOWN_PERIOD), sample];
}

function drawTimeline() {
  if (!isTimelineDue()) return;
  const canvas = element('timeline');
  const { pen, width, height } = prepare(canvas);
  const area = { left: 38, top: 10, width: width - 38 - 100, height: height - 10 - 24 };
  drawAxes(pen, area);
  if (!samples.length) return drawInvitation(pen, area);
  const now = samples[samples.length - 1].time;
  const x = (/** @type {number} */ time) => area.left + area.width * (1 - (now - time) / SHOWN_PERIOD);
  const y = (/** @type {number} */ share) => area.top + area.height * (1 - share);
  for (const expression of EXPRESSIONS) drawCurve(pen, expression, x, y);
  const last = samples[samples.length - 1].probabilities;
  if (last) drawNames(pen, last, area, y);
  canvas.setAttribute('aria-label', timelineInWords(now, last));
}

/** Where motion is unwelcome, the curves move on once in a second while the camera runs. */
function isTimelineDue() {
  const isCalm = matchMedia('(prefers-reduced-motion: reduce)').matches;
  const now = performance.now();
  if (isCalm && watching && now - timelineDrawn < 1000) return false;
  timelineDrawn = now;
  return true;
}

/** @param {CanvasRenderingContext2D} pen @param {Rectangle} area */
function drawAxes(pen, area) {
  pen.font = font(false);
  pen.fillStyle = color('--muted');
  pen.textBaseline = 'middle';
  pen.textAlign = 'right';
  for (const share of [0, 0.5, 1]) {
    const y = area.top + area.height * (1 - share);
    pen.beginPath();
    pen.moveTo(area.left, y);
    pen.lineTo(area.left + area.width, y);
    stroke(pen, color('--line'), 1);
    pen.fillText(percent(share), area.left - 6, y);
  }
  pen.textAlign = 'center';
  for (const seconds of [60, 40, 20, 0]) {
    const x = area.left + area.width * (1 - seconds / 60);
    pen.fillText(seconds ? `−${seconds} s` : 'now', x, area.top + area.height + 15);
  }
}

/** @param {CanvasRenderingContext2D} pen @param {Rectangle} area */
function drawInvitation(pen, area) {
  pen.font = font(false);
  pen.fillStyle = color('--muted');
  pen.fillText('Start the camera to fill it.', area.left + area.width / 2, area.top + area.height / 4);
}

/**
 * @param {CanvasRenderingContext2D} pen @param {string} expression
 * @param {(time: number) => number} x @param {(share: number) => number} y
 */
function drawCurve(pen, expression, x, y) {
  let before = -Infinity;
  pen.beginPath();
  for (const { time, probabilities } of samples) {
    if (!probabilities) continue;
    if (time - before > GAP) pen.moveTo(x(time), y(probabilities[expression]));
    else pen.lineTo(x(time), y(probabilities[expression]));
    before = time;
  }
  pen.lineJoin = 'round';
  strokeCurve(pen, expression);
}

/**
 * In its colour, and in dashes of its own for those who do not see that.
 * @param {CanvasRenderingContext2D} pen @param {string} expression
 */
function strokeCurve(pen, expression) {
  pen.setLineDash(DASHES[expression]);
  stroke(pen, color(`--${expression}`), 2);
  pen.setLineDash([]);
}

/**
 * The curves' names at their ends, moved apart where they would cover each other.
 * @param {CanvasRenderingContext2D} pen @param {Record<string, number>} last @param {Rectangle} area
 * @param {(share: number) => number} y
 */
function drawNames(pen, last, area, y) {
  const step = 15;
  const names = [...EXPRESSIONS].sort((one, other) => last[other] - last[one]);
  let lowest = area.top + area.height - step * (names.length - 1);
  let next = -Infinity;
  pen.textAlign = 'left';
  for (const name of names) {
    next = Math.min(Math.max(y(last[name]), next), lowest);
    pen.font = font(name === names[0]);
    pen.fillStyle = color(`--${name}`);
    pen.fillText(name, area.left + area.width + 32, next);
    pen.beginPath();
    pen.moveTo(area.left + area.width + 6, next);
    pen.lineTo(area.left + area.width + 28, next);
    strokeCurve(pen, name);
    next += step;
    lowest += step;
  }
}

/** @param {number} now @param {Record<string, number> | null} last */
function timelineInWords(now, last) {
  const seconds = Math.round((now - samples[0].time) / 1000);
  if (!last) return `Timeline of ${seconds} seconds; no face at its end.`;
  const shares = EXPRESSIONS.map((expression) => `${expression} ${percent(last[expression])}`);
  return `Timeline of ${seconds} seconds; at its end ${shares.join(', ')}.`;
}

/* Canvases. */

/**
 * An empty canvas whose pixels are the screen's, to be drawn on in pixels of the page.
 * @param {HTMLCanvasElement} canvas
 */
function prepare(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  canvas.width = Math.round(width * devicePixelRatio);
  canvas.height = Math.round(height * devicePixelRatio);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  pen.scale(devicePixelRatio, devicePixelRatio);
  return { pen, width, height };
}

/** @param {string} name of a property of page.css */
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(name);

/* The command line. */

/** @param {Picture} asked @param {string} faces */
function showCommand(asked, faces) {
  element('curl').textContent = curlCommand(asked.name, photoAddress(faces));
  element('copy').disabled = false;
  element('save').disabled = asked.onDisk;
  element('save-note').textContent = asked.onDisk
    ? 'Run it in the folder of the photo.'
    : `${asked.name} is not a file yet: save it, and run the command in its folder.`;
}

/** @param {string} name of the file @param {string} address */
function curlCommand(name, address) {
  const path = name === '-' ? './-' : name; // curl reads its input where the name is a dash
  return `curl --data-binary ${shellWord(`@${path}`)} '${address}'`;
}

/**
 * A text as one word of a shell. What is not seen is escaped, so that a terminal gets none of it when it is pasted; the
 * shell has to know `$'…'` for that, as bash, zsh and ksh do.
 * @param {string} text
 */
function shellWord(text) {
  if (/^[\w@./-]+$/.test(text)) return text;
  if (!/[\p{C}\p{Zl}\p{Zp}]/u.test(text)) return `'${text.replaceAll("'", "'\\''")}'`;
  const escaped = text.replace(/['\\]/g, '\\$&').replace(/[\p{C}\p{Zl}\p{Zp}]/gu, octal);
  return `$'${escaped}'`;
}

/** @param {string} sign @returns {string} its bytes */
const octal = (sign) =>
  [...new TextEncoder().encode(sign)].map((byte) => `\\${byte.toString(8).padStart(3, '0')}`).join('');

async function copyCommand() {
  const text = element('curl').textContent;
  try {
    await navigator.clipboard.writeText(text);
    say('The command was copied.');
    element('copy').textContent = 'Copied';
    setTimeout(() => (element('copy').textContent = 'Copy command'), 2000);
  } catch {
    getSelection()?.selectAllChildren(element('curl'));
    note('This browser copies only over https, or on localhost: the command is selected, copy it from there.');
  }
}

function savePicture() {
  if (!picture) return;
  const link = document.createElement('a');
  link.href = URL.createObjectURL(picture.blob);
  link.download = picture.name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/* The page itself. */

function showPrivacy() {
  const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(location.hostname);
  element('privacy').textContent = isHere
    ? 'Photos and camera frames stay on this machine: they go to this server alone.'
    : `Photos and camera frames go to this server, ${location.host}, alone.`;
}

/** Five columns in the tab; a picture of the page's own, so that none is asked for. */
function showIcon() {
  const columns = EXPRESSIONS.map((name, index) => {
    const height = [6, 4, 9, 15, 8][index];
    const place = `x="${1 + 3 * index}" y="${15.5 - height}" width="2" height="${height}"`;
    return `<rect ${place} fill="${color(`--${name}`)}"/>`;
  });
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">${columns.join('')}</svg>`;
  const link = document.createElement('link');
  link.rel = 'icon';
  link.href = URL.createObjectURL(new Blob([drawing], { type: 'image/svg+xml' }));
  document.head.append(link);
}

buildTables();
showPrivacy();
showIcon();
listen();
draw();
